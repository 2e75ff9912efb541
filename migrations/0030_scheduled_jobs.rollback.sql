-- Takes the three jobs out of the registry and out of pg_cron.

DELETE FROM public.jobs
WHERE name IN ('cleanup-sessions', 'cleanup-audit-logs', 'ensure-audit-partitions');

DO $$
BEGIN
    PERFORM public.sync_cron_jobs();
END;
$$;
