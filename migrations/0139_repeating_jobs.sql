-- The jobs are called until they are done, and one more prunes their history.
-- depends: 0030_scheduled_jobs 0138_sync_cron_jobs_by_run_job

UPDATE public.jobs
SET repeats = true
WHERE name IN ('cleanup-sessions', 'cleanup-audit-logs', 'ensure-audit-partitions');

UPDATE public.jobs
SET description = 'Removes audit entries older than the setting audit_retention (30 days).'
WHERE name = 'cleanup-audit-logs';

UPDATE public.jobs
SET description = 'Makes the audit trail''s partitions ahead, and empties the default one.'
WHERE name = 'ensure-audit-partitions';

INSERT INTO public.jobs (name, schedule, command, repeats, description) VALUES
(
    'cleanup-job-runs',
    '45 2 * * *',
    'SELECT public.cleanup_job_runs();',
    true,
    'Prunes the history of jobs, and pg_cron''s own.'
)
ON CONFLICT (name) DO NOTHING;

DO $$
BEGIN
    PERFORM public.sync_cron_jobs();
END;
$$;
