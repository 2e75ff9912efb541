-- The registry of jobs, and what runs one.

-- name: list
SELECT
    s.name::text AS name,
    s.schedule,
    s.command,
    s.is_active,
    s.last_started_at,
    s.last_finished_at,
    s.last_result::text AS last_result,
    extract(epoch FROM s.last_duration)::float8 AS last_seconds,
    s.last_calls,
    s.last_affected,
    s.last_note,
    s.last_runner,
    s.last_success_at,
    clock_timestamp() AS now,
    -- A run of a clock that was ahead is no run yet.
    (
        SELECT max(r.started_at)
        FROM public.job_runs AS r
        WHERE r.job = s.name AND r.started_at <= clock_timestamp()
    ) AS run_at
FROM public.job_status AS s
ORDER BY s.name

-- name: reads
SELECT
    to_regclass('public.job_status') IS NOT NULL AS there,
    CASE
        WHEN pg_has_role(session_user, 'portal_maintenance', 'MEMBER') THEN 'portal_maintenance'
        ELSE 'none'
    END AS role,
    pg_is_in_recovery() AS standby

-- name: become
SELECT set_config('role', %(role)s, %(local)s)

-- name: call
CALL public.run_job(%(name)s)

-- name: try_lock
SELECT pg_try_advisory_lock(%(key)s) AS held

-- name: last
SELECT
    r.job::text AS job,
    r.result::text AS result,
    r.started_at,
    extract(epoch FROM r.finished_at - r.started_at)::float8 AS seconds,
    r.calls,
    r.affected,
    r.note,
    r.runner
FROM public.job_runs AS r
WHERE r.job = %(name)s
ORDER BY r.started_at DESC
LIMIT 1

-- name: has_cron
SELECT EXISTS (SELECT 1 FROM pg_extension AS e WHERE e.extname = 'pg_cron') AS installed

-- name: sync
SELECT public.sync_cron_jobs() AS changed
