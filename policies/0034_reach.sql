-- The policies ask app_reach whom a user reaches: quicker, and a team_admin can be narrowed.
-- depends: 0013_mcp_servers_policies 0014_user_server_configs_policies 0033_app_reach
-- depends: 0015_user_sessions_policies
--
-- Policies are OR-ed, and each arm has a form that an index answers: the ids of those whom the user
-- reaches, and for who reaches everyone a range that is all ids. For anyone else its bound is NULL,
-- and the range holds nothing.

ALTER POLICY users_isolation ON public.users
    USING (id = ANY ((SELECT r.user_ids FROM public.app_reach AS r)::uuid[]));

ALTER POLICY users_self_update ON public.users
    USING (id = (SELECT r.user_id FROM public.app_reach AS r));

ALTER POLICY users_admin_read ON public.users
    USING (
        id BETWEEN (SELECT r.everyone_from FROM public.app_reach AS r)
        AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

ALTER POLICY mcp_servers_catalog_read ON public.mcp_servers
    USING (
        catalog_type = 'predefined' AND (SELECT r.user_id FROM public.app_reach AS r) IS NOT NULL
    );

ALTER POLICY mcp_servers_isolation ON public.mcp_servers
    USING (
        catalog_type = 'custom' AND created_by = (SELECT r.user_id FROM public.app_reach AS r)
    );

ALTER POLICY mcp_servers_admin_read ON public.mcp_servers
    USING (
        id BETWEEN (SELECT r.everyone_from FROM public.app_reach AS r)
        AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
        OR created_by = ANY ((SELECT r.user_ids FROM public.app_reach AS r)::uuid[])
    );

ALTER POLICY user_configs_isolation ON public.user_server_configs
    USING (user_id = ANY ((SELECT r.user_ids FROM public.app_reach AS r)::uuid[]));

ALTER POLICY admin_configs_access ON public.user_server_configs
    USING (
        user_id BETWEEN (SELECT r.everyone_from FROM public.app_reach AS r)
        AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

ALTER POLICY user_sessions_isolation ON public.user_sessions
    USING (user_id = (SELECT r.user_id FROM public.app_reach AS r));

ALTER POLICY teams_admin_read ON public.teams
    USING (
        id BETWEEN (SELECT r.everyone_from FROM public.app_reach AS r)
        AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

CREATE POLICY teams_api_read ON public.teams
    FOR SELECT TO portal_api
    USING (true);

ALTER POLICY team_members_admin_read ON public.team_members
    USING (
        team_id BETWEEN (SELECT r.everyone_from FROM public.app_reach AS r)
        AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

COMMENT ON POLICY users_isolation ON public.users IS
'An active user sees themselves, a narrowed team_admin the members of their teams too; nobody sees anyone without a context.';
COMMENT ON POLICY users_admin_read ON public.users IS
'An active super_admin sees every user, as does a team_admin who is not narrowed.';
COMMENT ON POLICY mcp_servers_admin_read ON public.mcp_servers IS
'An active super_admin or team_admin sees every server; a narrowed team_admin those of their teams'' members.';
COMMENT ON POLICY user_configs_isolation ON public.user_server_configs IS
'An active user sees and changes their own configurations alone, a narrowed team_admin those of their teams'' members too.';
COMMENT ON POLICY admin_configs_access ON public.user_server_configs IS
'An active super_admin sees and changes every configuration, as does a team_admin who is not narrowed.';
COMMENT ON POLICY teams_admin_read ON public.teams IS
'An active super_admin sees every team, as does a team_admin who is not narrowed.';
COMMENT ON POLICY teams_api_read ON public.teams IS
'The functions of portal_api look up which teams are active.';
COMMENT ON POLICY team_members_admin_read ON public.team_members IS
'An active super_admin sees the members of every team, as does a team_admin who is not narrowed.';
