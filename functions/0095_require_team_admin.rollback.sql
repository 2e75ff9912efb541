-- Drops the questions who may change a team.

DROP FUNCTION public.require_team_role(text);
DROP FUNCTION public.require_reach_to_give(uuid, text);
DROP FUNCTION public.require_other_team_admin(uuid, uuid);
DROP FUNCTION public.require_team_admin(uuid);
DROP FUNCTION public.require_team(uuid);
