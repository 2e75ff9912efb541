-- Drops the function that brings pg_cron to what the registry says.

DROP FUNCTION public.sync_cron_jobs();
