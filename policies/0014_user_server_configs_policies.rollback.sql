-- Drops the policies of user_server_configs.

DROP POLICY user_server_configs_runner_update ON public.user_server_configs;
DROP POLICY user_server_configs_runner_read ON public.user_server_configs;
DROP POLICY admin_configs_access ON public.user_server_configs;
DROP POLICY user_server_configs_visible_server ON public.user_server_configs;
DROP POLICY user_configs_isolation ON public.user_server_configs;
DROP POLICY user_server_configs_owner_access ON public.user_server_configs;
