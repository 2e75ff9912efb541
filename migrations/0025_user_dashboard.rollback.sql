-- Drops the view user_dashboard.

DROP VIEW public.user_dashboard;
