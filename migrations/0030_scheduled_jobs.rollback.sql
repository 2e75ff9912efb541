-- Takes the three jobs out of the registry and out of pg_cron.
-- loses: what was changed by hand in the rows of the three jobs

DELETE FROM public.jobs
WHERE name IN ('cleanup-sessions', 'cleanup-audit-logs', 'ensure-audit-partitions');

DO $$
BEGIN
    PERFORM public.sync_cron_jobs();
END;
$$;
