-- Drops what runs a job and prunes the history.

DROP FUNCTION public.cleanup_job_runs(timestamptz);
DROP PROCEDURE public.run_job(text);
