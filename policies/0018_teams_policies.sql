-- Who sees which teams and which of their members: a member their own teams, an admin all.
-- depends: 0005_access_scope 0011_teams 0012_team_members 0017_app_team_ids

CREATE POLICY teams_owner_access ON public.teams
    TO mcp_admin
    USING (true)
    WITH CHECK (true);

CREATE POLICY teams_isolation ON public.teams
    FOR SELECT TO portal_app
    USING (id = ANY ((SELECT public.app_team_ids())::uuid[]));

CREATE POLICY teams_admin_read ON public.teams
    FOR SELECT TO portal_app
    USING (
        id BETWEEN (SELECT public.app_admin_from()) AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

CREATE POLICY team_members_owner_access ON public.team_members
    TO mcp_admin
    USING (true)
    WITH CHECK (true);

CREATE POLICY team_members_isolation ON public.team_members
    FOR SELECT TO portal_app
    USING (team_id = ANY ((SELECT public.app_team_ids())::uuid[]));

CREATE POLICY team_members_admin_read ON public.team_members
    FOR SELECT TO portal_app
    USING (
        team_id BETWEEN (SELECT public.app_admin_from()) AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

CREATE POLICY team_members_api_read ON public.team_members
    FOR SELECT TO portal_api
    USING (true);

COMMENT ON POLICY teams_owner_access ON public.teams IS
'The owner is exempt from FORCE ROW LEVEL SECURITY, so that migrations see every row.';
COMMENT ON POLICY teams_isolation ON public.teams IS
'An active user sees the teams they belong to.';
COMMENT ON POLICY teams_admin_read ON public.teams IS
'An active super_admin or team_admin sees every team.';
COMMENT ON POLICY team_members_owner_access ON public.team_members IS
'The owner is exempt from FORCE ROW LEVEL SECURITY, so that migrations see every row.';
COMMENT ON POLICY team_members_isolation ON public.team_members IS
'An active user sees the members of the teams they belong to.';
COMMENT ON POLICY team_members_admin_read ON public.team_members IS
'An active super_admin or team_admin sees the members of every team.';
COMMENT ON POLICY team_members_api_read ON public.team_members IS
'The functions of portal_api look up whose teams are whose.';
