-- Who sees invitations, and what the functions of portal_api may change of teams, and for whom.
-- depends: 0018_teams_policies 0034_reach 0092_team_invitations 0093_app_led_team_ids
--
-- The functions check and say why; these hold where one of them is wrong. A membership is made in
-- the name of who joins alone, so not even such a function puts another into a team.

GRANT
    SELECT (name),
    INSERT (id, name, description, created_by),
    UPDATE (is_active)
    ON public.teams TO portal_api;
GRANT
    INSERT (team_id, user_id, role),
    UPDATE (role)
    ON public.team_members TO portal_api;

CREATE POLICY team_invitations_owner_access ON public.team_invitations
    TO mcp_admin
    USING (true)
    WITH CHECK (true);

CREATE POLICY team_invitations_isolation ON public.team_invitations
    FOR SELECT TO portal_app
    USING (user_id = (SELECT r.user_id FROM public.app_reach AS r));

CREATE POLICY team_invitations_led_read ON public.team_invitations
    FOR SELECT TO portal_app
    USING (team_id = ANY ((SELECT public.app_led_team_ids())::uuid[]));

CREATE POLICY team_invitations_api_read ON public.team_invitations
    FOR SELECT TO portal_api
    USING (
        user_id = (SELECT r.user_id FROM public.app_reach AS r)
        OR team_id = ANY ((SELECT public.app_led_team_ids())::uuid[])
    );

CREATE POLICY team_invitations_api_invite ON public.team_invitations
    FOR INSERT TO portal_api
    WITH CHECK (
        invited_by = (SELECT r.user_id FROM public.app_reach AS r)
        AND team_id = ANY ((SELECT public.app_led_team_ids())::uuid[])
    );

CREATE POLICY team_invitations_api_end ON public.team_invitations
    FOR DELETE TO portal_api
    USING (
        user_id = (SELECT r.user_id FROM public.app_reach AS r)
        OR team_id = ANY ((SELECT public.app_led_team_ids())::uuid[])
    );

-- Nobody agrees to a team that they cannot read the name of.
CREATE POLICY teams_invited_read ON public.teams
    FOR SELECT TO portal_app
    USING (id = ANY ((SELECT public.app_invited_team_ids())::uuid[]));

CREATE POLICY teams_api_create ON public.teams
    FOR INSERT TO portal_api
    WITH CHECK (created_by = (SELECT r.user_id FROM public.app_reach AS r));

CREATE POLICY teams_api_update ON public.teams
    FOR UPDATE TO portal_api
    USING (id = ANY ((SELECT public.app_led_team_ids())::uuid[]));

CREATE POLICY team_members_api_join ON public.team_members
    FOR INSERT TO portal_api
    WITH CHECK (user_id = (SELECT r.user_id FROM public.app_reach AS r));

CREATE POLICY team_members_api_update ON public.team_members
    FOR UPDATE TO portal_api
    USING (team_id = ANY ((SELECT public.app_led_team_ids())::uuid[]));

CREATE POLICY team_members_api_leave ON public.team_members
    FOR DELETE TO portal_api
    USING (
        user_id = (SELECT r.user_id FROM public.app_reach AS r)
        OR team_id = ANY ((SELECT public.app_led_team_ids())::uuid[])
    );

COMMENT ON POLICY team_invitations_owner_access ON public.team_invitations IS
'The owner is exempt from FORCE ROW LEVEL SECURITY, so that migrations see every row.';
COMMENT ON POLICY team_invitations_isolation ON public.team_invitations IS
'An active user sees the invitations that they got.';
COMMENT ON POLICY team_invitations_led_read ON public.team_invitations IS
'An admin of a team sees whom it has invited, a super_admin every invitation.';
COMMENT ON POLICY team_invitations_api_read ON public.team_invitations IS
'The functions of portal_api see what the user of the context may answer or withdraw.';
COMMENT ON POLICY team_invitations_api_invite ON public.team_invitations IS
'The functions of portal_api invite in the user''s own name, into a team that they lead.';
COMMENT ON POLICY team_invitations_api_end ON public.team_invitations IS
'The functions of portal_api end an invitation for who got it or who leads the team.';
COMMENT ON POLICY teams_invited_read ON public.teams IS
'Who is invited into a team sees it.';
COMMENT ON POLICY teams_api_create ON public.teams IS
'The functions of portal_api make a team in the name of the context''s user.';
COMMENT ON POLICY teams_api_update ON public.teams IS
'The functions of portal_api lock and disband a team for who leads it.';
COMMENT ON POLICY team_members_api_join ON public.team_members IS
'The functions of portal_api make the context''s user a member, and nobody else.';
COMMENT ON POLICY team_members_api_update ON public.team_members IS
'The functions of portal_api change a role in a team for who leads it.';
COMMENT ON POLICY team_members_api_leave ON public.team_members IS
'The functions of portal_api end a membership for the member or who leads the team.';
