-- Takes the job that prunes the history away; the others are called once a run.
-- loses: what was changed by hand in the row of that job

DELETE FROM public.jobs
WHERE name = 'cleanup-job-runs';

UPDATE public.jobs
SET repeats = false
WHERE name IN ('cleanup-sessions', 'cleanup-audit-logs', 'ensure-audit-partitions');

UPDATE public.jobs
SET description = 'Removes audit entries older than 30 days.'
WHERE name = 'cleanup-audit-logs';

UPDATE public.jobs
SET description = 'Makes the audit trail''s partitions of the months ahead.'
WHERE name = 'ensure-audit-partitions';

DO $$
BEGIN
    PERFORM public.sync_cron_jobs();
END;
$$;
