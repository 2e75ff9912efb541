-- Gives the policies back the functions that they asked before.

DROP POLICY teams_api_read ON public.teams;

ALTER POLICY users_isolation ON public.users
    USING (id = (SELECT public.app_active_user_id()));

ALTER POLICY users_self_update ON public.users
    USING (id = (SELECT public.app_active_user_id()));

ALTER POLICY users_admin_read ON public.users
    USING (
        id BETWEEN (SELECT public.app_admin_from()) AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

ALTER POLICY mcp_servers_catalog_read ON public.mcp_servers
    USING (catalog_type = 'predefined' AND (SELECT public.app_active_user_id()) IS NOT NULL);

ALTER POLICY mcp_servers_isolation ON public.mcp_servers
    USING (catalog_type = 'custom' AND created_by = (SELECT public.app_active_user_id()));

ALTER POLICY mcp_servers_admin_read ON public.mcp_servers
    USING (
        id BETWEEN (SELECT public.app_admin_from()) AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

ALTER POLICY user_configs_isolation ON public.user_server_configs
    USING (user_id = (SELECT public.app_active_user_id()));

ALTER POLICY admin_configs_access ON public.user_server_configs
    USING (
        user_id BETWEEN (SELECT public.app_admin_from()) AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

ALTER POLICY user_sessions_isolation ON public.user_sessions
    USING (user_id = (SELECT public.app_active_user_id()));

ALTER POLICY teams_admin_read ON public.teams
    USING (
        id BETWEEN (SELECT public.app_admin_from()) AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

ALTER POLICY team_members_admin_read ON public.team_members
    USING (
        team_id BETWEEN (SELECT public.app_admin_from()) AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

COMMENT ON POLICY users_isolation ON public.users IS
'An active user sees themselves; nobody sees anyone without a context.';
COMMENT ON POLICY users_admin_read ON public.users IS
'An active super_admin or team_admin sees every user.';
COMMENT ON POLICY mcp_servers_admin_read ON public.mcp_servers IS
'An active super_admin or team_admin sees every server.';
COMMENT ON POLICY user_configs_isolation ON public.user_server_configs IS
'An active user sees and changes their own configurations alone.';
COMMENT ON POLICY admin_configs_access ON public.user_server_configs IS
'An active super_admin or team_admin sees and changes every configuration.';
COMMENT ON POLICY teams_admin_read ON public.teams IS
'An active super_admin or team_admin sees every team.';
COMMENT ON POLICY team_members_admin_read ON public.team_members IS
'An active super_admin or team_admin sees the members of every team.';
