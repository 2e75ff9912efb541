-- Drops the functions that change who is in a team as what.

DROP FUNCTION public.leave_team(uuid);
DROP FUNCTION public.remove_team_member(uuid, uuid);
DROP FUNCTION public.set_team_role(uuid, uuid, text);
