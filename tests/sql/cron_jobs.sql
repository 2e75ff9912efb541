-- The registry's jobs are in pg_cron, once each, and the sync brings back what was changed by hand.
\ir begin.psql
SELECT count(*) = 1 AS scheduled FROM pg_extension AS e WHERE e.extname = 'pg_cron' \gset
\if :scheduled
\else
    -- A throwaway or renamed database; tests/py/test_pgtap.py runs this file where pg_cron is.
    \echo 1..0 # SKIP pg_cron lives in another database of this server
    \quit
\endif
SELECT plan(11);

CREATE TEMPORARY VIEW registered AS
SELECT
    j.name::text,
    j.schedule,
    j.command
FROM public.jobs AS j;

SELECT set_eq(
    'TABLE registered',
    $$
    VALUES
    ('cleanup-sessions', '*/15 * * * *', 'SELECT public.cleanup_expired_sessions();'),
    ('cleanup-audit-logs', '0 2 * * *', 'SELECT public.cleanup_old_audit_logs();'),
    ('ensure-audit-partitions', '30 1 * * *', 'SELECT public.ensure_audit_partitions();')
    $$,
    'the registry holds the two jobs of the spec and the one for partitions'
);

SELECT has_extension('pg_cron', 'pg_cron is in this database');
CREATE TEMPORARY VIEW scheduled AS
SELECT
    c.jobname::text,
    c.schedule,
    c.command
FROM cron.job AS c
WHERE c.username = 'portal_maintenance' AND c.database = current_database() AND c.active;
SELECT set_eq('TABLE scheduled', 'TABLE registered', 'pg_cron holds what the registry holds');

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
    ('cleanup-sessions', '*/5 * * * *', 'SELECT public.cleanup_expired_sessions();'),
    ('new-job', '0 0 1 1 *', 'SELECT 1'),
    ('ensure-audit-partitions', '30 1 * * *', 'SELECT public.ensure_audit_partitions();')
    $$,
    'a sync changes, adds and removes jobs'
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
