-- Drops the two questions about teams.

DROP FUNCTION public.app_invited_team_ids();
DROP FUNCTION public.app_led_team_ids();
