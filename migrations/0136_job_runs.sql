-- The history of jobs: one row a run, whichever scheduler ran it.
-- depends: 0028_jobs 0130_retention_settings
-- no-rls: it holds no tenant's rows; only the owner and the maintenance role reach it.

CREATE TABLE public.job_runs (
    id          uuid        NOT NULL DEFAULT public.uuid_generate_v4(),
    job         varchar(63) NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    result      varchar(20) NOT NULL DEFAULT 'running',
    calls       bigint      NOT NULL DEFAULT 0,
    affected    bigint      NOT NULL DEFAULT 0,
    note        text,
    runner      text        NOT NULL,

    CONSTRAINT job_runs_pkey PRIMARY KEY (id),
    CONSTRAINT job_runs_job_fkey FOREIGN KEY (job)
        REFERENCES public.jobs (name) ON UPDATE CASCADE ON DELETE CASCADE,
    CONSTRAINT valid_job_result CHECK (
        result IN ('running', 'succeeded', 'unfinished', 'failed', 'lost')
    )
);

CREATE INDEX idx_job_runs_job_started_at ON public.job_runs (job, started_at DESC);

GRANT SELECT, DELETE ON public.job_runs TO portal_maintenance;
GRANT INSERT (job, runner) ON public.job_runs TO portal_maintenance;
GRANT UPDATE (
    finished_at, result, calls, affected, note
) ON public.job_runs TO portal_maintenance;

COMMENT ON TABLE  public.job_runs             IS 'What each job did, a row a run; pruned by the setting job_history.';
COMMENT ON COLUMN public.job_runs.id          IS 'The run''s id.';
COMMENT ON COLUMN public.job_runs.job         IS 'The job''s name.';
COMMENT ON COLUMN public.job_runs.started_at  IS 'When it began.';
COMMENT ON COLUMN public.job_runs.finished_at IS 'When it ended, or was found to have been lost.';
COMMENT ON COLUMN public.job_runs.result      IS
'running, succeeded, unfinished (a lock was not had; the next run carries on), failed, or lost: whoever ran it went away.';
COMMENT ON COLUMN public.job_runs.calls       IS 'How many times its command was called, each in a transaction.';
COMMENT ON COLUMN public.job_runs.affected    IS 'The sum of what the calls returned: rows removed, partitions made.';
COMMENT ON COLUMN public.job_runs.note        IS 'The error, or what the job had to say.';
COMMENT ON COLUMN public.job_runs.runner      IS 'Who ran it: the session''s application_name, or pg_cron.';

-- A job with repeats is called again until there is nothing left.
ALTER TABLE public.jobs ADD COLUMN repeats boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN public.jobs.repeats IS
'Whether a run calls the command again, each time in a transaction of its own, until it returns 0.';

-- Not NOT VALID: a table of a row a job, which is read in no time.
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE public.jobs ADD CONSTRAINT valid_job_name CHECK (name ~ '^[a-z0-9][a-z0-9_-]*$');

CREATE VIEW public.job_status WITH (security_barrier = true) AS
SELECT
    j.name,
    j.schedule,
    j.command,
    j.is_active,
    r.started_at AS last_started_at,
    r.finished_at AS last_finished_at,
    r.result AS last_result,
    r.finished_at - r.started_at AS last_duration,
    r.calls AS last_calls,
    r.affected AS last_affected,
    r.note AS last_note,
    r.runner AS last_runner,
    (
        SELECT max(s.started_at)
        FROM public.job_runs AS s
        WHERE s.job = j.name AND s.result = 'succeeded'
    ) AS last_success_at
FROM public.jobs AS j
LEFT JOIN LATERAL (
    SELECT
        l.started_at,
        l.finished_at,
        l.result,
        l.calls,
        l.affected,
        l.note,
        l.runner
    FROM public.job_runs AS l
    WHERE l.job = j.name
    ORDER BY l.started_at DESC
    LIMIT 1
) AS r ON true;

GRANT SELECT ON public.job_status TO portal_maintenance, portal_monitor;

COMMENT ON VIEW   public.job_status                  IS 'Each job with its last run.';
COMMENT ON COLUMN public.job_status.name             IS 'The job''s name.';
COMMENT ON COLUMN public.job_status.schedule         IS 'When it runs: five cron fields, in GMT.';
COMMENT ON COLUMN public.job_status.command          IS 'The statement it runs.';
COMMENT ON COLUMN public.job_status.is_active        IS 'False keeps it from being scheduled.';
COMMENT ON COLUMN public.job_status.last_started_at  IS 'When its last run began; NULL where it never ran.';
COMMENT ON COLUMN public.job_status.last_finished_at IS 'When that run ended.';
COMMENT ON COLUMN public.job_status.last_result      IS 'What came of it: see job_runs.result.';
COMMENT ON COLUMN public.job_status.last_duration    IS 'How long it took.';
COMMENT ON COLUMN public.job_status.last_calls       IS 'How many times the command was called.';
COMMENT ON COLUMN public.job_status.last_affected    IS 'The sum of what the calls returned.';
COMMENT ON COLUMN public.job_status.last_note        IS 'The error, or what the job had to say.';
COMMENT ON COLUMN public.job_status.last_runner      IS 'Who ran it.';
COMMENT ON COLUMN public.job_status.last_success_at  IS 'When the last run began that succeeded.';
