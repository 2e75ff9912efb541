-- The registry's jobs are in pg_cron, once each, and the sync brings back what was changed by hand.
\ir begin.psql
SELECT count(*) = 1 AS scheduled FROM pg_extension AS e WHERE e.extname = 'pg_cron' \gset
\if :scheduled
\else
    -- A throwaway or renamed database; tests/py/test_pgtap.py runs this file where pg_cron is.
    \echo 1..0 # SKIP pg_cron lives in another database of this server
    \quit
\endif
SELECT plan(12);

CREATE TEMPORARY VIEW registered AS
SELECT
    j.name::text,
    j.schedule,
    j.command
FROM public.jobs AS j;
-- What pg_cron is to hold of each
CREATE TEMPORARY VIEW due AS
SELECT
    j.name::text,
    j.schedule,
    'CALL public.run_job(''' || j.name || ''')' AS command
FROM public.jobs AS j
WHERE j.is_active;

SELECT set_eq(
    'TABLE registered',
    $$
    VALUES
    ('cleanup-sessions', '*/15 * * * *', 'SELECT public.cleanup_expired_sessions();'),
    ('cleanup-audit-logs', '0 2 * * *', 'SELECT public.cleanup_old_audit_logs();'),
    ('ensure-audit-partitions', '30 1 * * *', 'SELECT public.ensure_audit_partitions();'),
    ('cleanup-job-runs', '45 2 * * *', 'SELECT public.cleanup_job_runs();')
    $$,
    'the registry holds the two jobs of the spec, the one for partitions and the one for histories'
);

SELECT has_extension('pg_cron', 'pg_cron is in this database');
CREATE TEMPORARY VIEW scheduled AS
SELECT
    c.jobname::text,
    c.schedule,
    c.command
FROM cron.job AS c
WHERE c.username = 'portal_maintenance' AND c.database = current_database() AND c.active;
SELECT set_eq('TABLE scheduled', 'TABLE due', 'pg_cron holds what the registry holds');

SET LOCAL ROLE mcp_admin;
SELECT is(public.sync_cron_jobs(), 0, 'a sync with nothing to do does nothing');
SELECT is(current_user, 'mcp_admin'::name, 'a sync gives the caller''s role back');

UPDATE public.jobs SET schedule = '*/5 * * * *' WHERE name = 'cleanup-sessions';
UPDATE public.jobs SET is_active = false WHERE name = 'cleanup-audit-logs';
INSERT INTO public.jobs (name, schedule, command, description)
VALUES ('new-job', '0 0 1 1 *', 'SELECT 1', 'For this test.');
SELECT is(public.sync_cron_jobs(), 3, 'a sync counts what it changes');
RESET ROLE;
SELECT set_eq(
    'TABLE scheduled',
    $$
    VALUES
    ('cleanup-sessions', '*/5 * * * *', 'CALL public.run_job(''cleanup-sessions'')'),
    ('new-job', '0 0 1 1 *', 'CALL public.run_job(''new-job'')'),
    ('ensure-audit-partitions', '30 1 * * *', 'CALL public.run_job(''ensure-audit-partitions'')'),
    ('cleanup-job-runs', '45 2 * * *', 'CALL public.run_job(''cleanup-job-runs'')')
    $$,
    'a sync changes, adds and removes jobs'
);

SET LOCAL ROLE mcp_admin;
\ir ../../migrations/0139_repeating_jobs.rollback.sql
\ir ../../functions/0138_sync_cron_jobs_by_run_job.rollback.sql
RESET ROLE;
SELECT set_eq(
    'SELECT s.jobname, s.command FROM scheduled AS s WHERE s.jobname <> ''new-job''',
    $$
    VALUES
    ('cleanup-sessions', 'SELECT public.cleanup_expired_sessions();'),
    ('ensure-audit-partitions', 'SELECT public.ensure_audit_partitions();')
    $$,
    'a rollback unschedules its job, and schedules the others as before'
);
SET LOCAL ROLE mcp_admin;
\ir ../../migrations/0030_scheduled_jobs.rollback.sql
RESET ROLE;
SELECT set_eq(
    'SELECT s.jobname FROM scheduled AS s', ARRAY['new-job'],
    'a rollback unschedules its jobs and no other'
);

-- The commands work as the role that pg_cron runs them as
SET LOCAL ROLE portal_maintenance;
SELECT lives_ok(
    'SELECT public.cleanup_expired_sessions()', 'portal_maintenance runs cleanup-sessions'
);
SELECT lives_ok(
    'SELECT public.cleanup_old_audit_logs()', 'portal_maintenance runs cleanup-audit-logs'
);
SELECT lives_ok(
    'SELECT public.ensure_audit_partitions()', 'portal_maintenance runs ensure-audit-partitions'
);

SELECT finish();
ROLLBACK;
