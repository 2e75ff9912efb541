-- The registry of scheduled jobs: what runs when, whichever scheduler runs it.
-- depends: 0001_default_privileges
-- no-rls: it holds no tenant's rows; only the owner and the maintenance role reach it.
--
-- pg_cron lives in one database of a server, if at all, so its own table cannot be where a job is
-- defined.

CREATE TABLE public.jobs (
    name        varchar(63) NOT NULL,
    schedule    text        NOT NULL,
    command     text        NOT NULL,
    description text        NOT NULL,
    is_active   boolean     NOT NULL DEFAULT true,

    CONSTRAINT jobs_pkey PRIMARY KEY (name)
);

GRANT SELECT ON public.jobs TO portal_maintenance;

COMMENT ON TABLE  public.jobs             IS 'Scheduled jobs, run as portal_maintenance.';
COMMENT ON COLUMN public.jobs.name        IS 'The job''s name, in pg_cron too.';
COMMENT ON COLUMN public.jobs.schedule    IS 'When it runs: five cron fields, in GMT.';
COMMENT ON COLUMN public.jobs.command     IS 'The statement it runs.';
COMMENT ON COLUMN public.jobs.description IS 'What it is for.';
COMMENT ON COLUMN public.jobs.is_active   IS 'False keeps it from being scheduled.';
