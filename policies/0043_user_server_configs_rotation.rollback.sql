-- Takes configurations out of portal_maintenance's reach.

DROP POLICY user_server_configs_maintenance_update ON public.user_server_configs;
DROP POLICY user_server_configs_maintenance_read ON public.user_server_configs;
REVOKE
    SELECT (id, user_id, server_id, encrypted_config),
    UPDATE (encrypted_config)
    ON public.user_server_configs FROM portal_maintenance;
