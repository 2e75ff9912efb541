-- The maintenance role alone writes and prunes the history of jobs; a job runs in no transaction.
\ir begin.psql
SELECT plan(16);

SELECT throws_ok(
    $$CALL public.run_job('cleanup-sessions')$$, '2D000', NULL,
    'a job is not run inside somebody''s transaction'
);
SELECT is_empty(
    $$SELECT 1 FROM pg_locks AS l WHERE l.locktype = 'advisory' AND l.pid = pg_backend_pid()$$,
    'and leaves no lock behind'
);
SELECT set_eq(
    'SELECT j.name::text FROM public.jobs AS j WHERE j.repeats',
    ARRAY['cleanup-sessions', 'cleanup-audit-logs', 'ensure-audit-partitions', 'cleanup-job-runs'],
    'every job of ours is called until there is nothing left'
);
SELECT throws_ok(
    format('INSERT INTO public.jobs VALUES (%L, %L, %L, %L)', n, '* * * * *', 'SELECT 1', 'x'),
    '23514', NULL, format('a job is not called %L', n)
)
FROM unnest(ARRAY['it''s', '', 'A job']) AS n;

-- Histories, with a moved clock
INSERT INTO public.job_runs (job, started_at, finished_at, result, runner)
SELECT
    'cleanup-sessions' AS job,
    '2030-01-31 00:00:00+00'::timestamptz - t.ago AS started_at,
    '2030-01-31 00:00:00+00'::timestamptz - t.ago + interval '1 second' AS finished_at,
    t.result,
    'of the test' AS runner
FROM (
    VALUES
    (interval '30 days 1 microsecond', 'succeeded'), (interval '30 days', 'failed'),
    (interval '31 days', 'running'), (interval '90 days', 'lost'), (interval '1 day', 'succeeded')
) AS t (ago, result);
INSERT INTO public.job_runs (job, started_at, result, runner)
VALUES ('cleanup-audit-logs', '2001-01-01', 'succeeded', 'of the test');
SELECT results_eq(
    $$SELECT
        s.last_started_at, s.last_result::text, s.last_runner, s.last_success_at, s.last_duration
    FROM public.job_status AS s WHERE s.name = 'cleanup-sessions'$$,
    $$VALUES (
        '2030-01-30 00:00:00+00'::timestamptz, 'succeeded', 'of the test',
        '2030-01-30 00:00:00+00'::timestamptz, interval '1 second'
    )$$,
    'the status of a job is its last run'
);
SET LOCAL ROLE portal_maintenance;
SET LOCAL portal.cleanup_limit = '1';
SELECT is(public.cleanup_job_runs('2030-01-31 00:00:00+00'), 1, 'a call prunes no more than the limit');
SET LOCAL portal.cleanup_limit = '';
SELECT is(public.cleanup_job_runs('2030-01-31 00:00:00+00'), 1, 'the next prunes the rest');
SELECT is(
    public.cleanup_job_runs('2030-01-01 00:00:00+00'), 0, 'a clock that jumps back prunes nothing'
);
RESET ROLE;
SELECT set_eq(
    $$SELECT r.job::text, r.result::text FROM public.job_runs AS r WHERE r.runner = 'of the test'$$,
    $$VALUES
    ('cleanup-sessions', 'failed'), ('cleanup-sessions', 'running'), ('cleanup-sessions', 'succeeded'),
    ('cleanup-audit-logs', 'succeeded')$$,
    'what is on the edge stays, and what runs, and the last run of a job however old'
);

-- Who may
SET LOCAL ROLE portal_maintenance;
SELECT throws_ok(
    $$UPDATE public.job_runs SET started_at = '2001-01-01'$$, '42501', NULL,
    'portal_maintenance dates no run back'
);
SELECT throws_ok(
    $$INSERT INTO public.jobs VALUES ('mine', '* * * * *', 'SELECT 1', 'x')$$, '42501', NULL,
    'nor makes a job'
);
SET LOCAL ROLE portal_monitor;
SELECT isnt_empty('SELECT 1 FROM public.job_status', 'portal_monitor reads the status');
SET LOCAL ROLE portal_app;
SELECT throws_ok('SELECT 1 FROM public.job_status', '42501', NULL, 'portal_app does not');
SELECT throws_ok($$CALL public.run_job('cleanup-sessions')$$, '42501', NULL, 'nor runs a job');

SELECT finish();
ROLLBACK;
