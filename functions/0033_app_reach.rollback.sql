-- Drops the view of whom a user reaches.

DROP VIEW public.app_reach;
REVOKE SELECT (id, is_active) ON public.teams FROM portal_api;
REVOKE SELECT (role) ON public.team_members FROM portal_api;
DROP FUNCTION public.app_narrowed_to();
