-- Ends the change feed.

DROP TRIGGER notify_user_changed ON public.users;
DROP TRIGGER notify_server_changed ON public.mcp_servers;
DROP TRIGGER notify_server_made ON public.mcp_servers;
DROP TRIGGER notify_state_changed ON public.user_server_configs;
DROP TRIGGER notify_config_changed ON public.user_server_configs;
DROP TRIGGER notify_config_made ON public.user_server_configs;
DROP FUNCTION public.notify_row_change();
DROP FUNCTION public.notify_config_change();
