-- Drops the view server_statistics.

DROP VIEW public.server_statistics;
