-- Drops the function that tells a user's teams.

DROP FUNCTION public.app_team_ids();
