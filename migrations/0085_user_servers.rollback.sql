-- Drops the view user_servers.

DROP VIEW public.user_servers;
