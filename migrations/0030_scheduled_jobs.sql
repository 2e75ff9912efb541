-- The spec's two jobs, and the one that makes the audit trail's partitions ahead.
-- depends: 0020_ensure_audit_partitions 0021_cleanup_expired_sessions 0022_cleanup_old_audit_logs
-- depends: 0028_jobs 0029_sync_cron_jobs

INSERT INTO public.jobs (name, schedule, command, description) VALUES
(
    'cleanup-sessions',
    '*/15 * * * *',
    'SELECT public.cleanup_expired_sessions();',
    'Removes sessions that have expired or lie idle.'
),
(
    'cleanup-audit-logs',
    '0 2 * * *',
    'SELECT public.cleanup_old_audit_logs();',
    'Removes audit entries older than 30 days.'
),
(
    'ensure-audit-partitions',
    '30 1 * * *',
    'SELECT public.ensure_audit_partitions();',
    'Makes the audit trail''s partitions of the months ahead.'
);

DO $$
BEGIN
    PERFORM public.sync_cron_jobs();
END;
$$;
