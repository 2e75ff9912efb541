-- Drops the history of jobs.
-- loses: the history of jobs, and which of them are called again

DROP VIEW public.job_status;
ALTER TABLE public.jobs DROP CONSTRAINT valid_job_name;
ALTER TABLE public.jobs DROP COLUMN repeats;
DROP TABLE public.job_runs;
