-- Drops the functions that make and end teams.

DROP FUNCTION public.disband_team(uuid);
DROP FUNCTION public.create_team(text, text);
