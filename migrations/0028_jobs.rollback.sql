-- Drops the registry of scheduled jobs.
-- loses: jobs that were registered by hand

DROP TABLE public.jobs;
