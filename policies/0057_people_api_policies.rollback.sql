-- Takes back what the functions of portal_api may do to users and to what is theirs.

DROP POLICY users_erased_stay ON public.users;
DROP POLICY team_members_api_erase ON public.team_members;
DROP POLICY mcp_servers_api_erase ON public.mcp_servers;
DROP POLICY mcp_servers_api_erase_read ON public.mcp_servers;
DROP POLICY user_server_configs_api_erase ON public.user_server_configs;
DROP POLICY user_server_configs_api_erase_read ON public.user_server_configs;
DROP POLICY user_sessions_api_erase ON public.user_sessions;
DROP POLICY user_sessions_api_admin_update ON public.user_sessions;
DROP POLICY user_sessions_api_update ON public.user_sessions;
DROP POLICY user_sessions_api_insert ON public.user_sessions;
DROP POLICY user_sessions_api_read ON public.user_sessions;
DROP POLICY users_api_admin_update ON public.users;
DROP POLICY users_api_update ON public.users;

REVOKE SELECT (id), DELETE ON public.team_members FROM portal_api;
REVOKE SELECT (id, catalog_type, created_by), DELETE ON public.mcp_servers FROM portal_api;
REVOKE SELECT (id, user_id), DELETE ON public.user_server_configs FROM portal_api;
REVOKE
    SELECT (
        id, user_id, session_token, refresh_token, last_activity, expires_at, is_active,
        family_id, refreshed_at, renewable_until
    ),
    INSERT (
        id, user_id, session_token, refresh_token, ip_address, user_agent, expires_at,
        family_id, renewable_until
    ),
    UPDATE (last_activity, expires_at, is_active, refreshed_at),
    DELETE
    ON public.user_sessions FROM portal_api;
REVOKE
    SELECT (azure_oid, email, display_name, metadata, erased_at),
    UPDATE (azure_oid, email, display_name, metadata, role, is_active, last_login_at, erased_at)
    ON public.users FROM portal_api;
