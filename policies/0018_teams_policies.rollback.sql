-- Drops the policies of teams and team_members.

DROP POLICY team_members_api_read ON public.team_members;
DROP POLICY team_members_admin_read ON public.team_members;
DROP POLICY team_members_isolation ON public.team_members;
DROP POLICY team_members_owner_access ON public.team_members;
DROP POLICY teams_admin_read ON public.teams;
DROP POLICY teams_isolation ON public.teams;
DROP POLICY teams_owner_access ON public.teams;
