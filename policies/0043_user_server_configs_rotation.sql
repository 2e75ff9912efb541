-- Rotation: portal_maintenance encrypts every configuration anew, and changes nothing else of it.
-- depends: 0014_user_server_configs_policies

GRANT
    SELECT (id, user_id, server_id, encrypted_config),
    UPDATE (encrypted_config)
    ON public.user_server_configs TO portal_maintenance;

CREATE POLICY user_server_configs_maintenance_read ON public.user_server_configs
    FOR SELECT TO portal_maintenance
    USING (true);

CREATE POLICY user_server_configs_maintenance_update ON public.user_server_configs
    FOR UPDATE TO portal_maintenance
    USING (true);

COMMENT ON POLICY user_server_configs_maintenance_read ON public.user_server_configs IS
'Rotation reads which key made every user''s value, in the columns granted.';
COMMENT ON POLICY user_server_configs_maintenance_update ON public.user_server_configs IS
'Rotation writes every user''s value under another key, in the one column granted.';
