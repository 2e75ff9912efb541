-- Takes the changes of teams from portal_api again.

DROP POLICY team_members_api_leave ON public.team_members;
DROP POLICY team_members_api_update ON public.team_members;
DROP POLICY team_members_api_join ON public.team_members;
DROP POLICY teams_api_update ON public.teams;
DROP POLICY teams_api_create ON public.teams;
DROP POLICY teams_invited_read ON public.teams;
DROP POLICY team_invitations_api_end ON public.team_invitations;
DROP POLICY team_invitations_api_invite ON public.team_invitations;
DROP POLICY team_invitations_api_read ON public.team_invitations;
DROP POLICY team_invitations_led_read ON public.team_invitations;
DROP POLICY team_invitations_isolation ON public.team_invitations;
DROP POLICY team_invitations_owner_access ON public.team_invitations;

REVOKE
    INSERT (team_id, user_id, role),
    UPDATE (role)
    ON public.team_members FROM portal_api;
REVOKE
    SELECT (name),
    INSERT (id, name, description, created_by),
    UPDATE (is_active)
    ON public.teams FROM portal_api;
