-- What pg_cron runs is run_job(), which writes the history and calls a job until it is done.
-- depends: 0029_sync_cron_jobs 0137_run_job
--
-- The name of a job is letters, digits, hyphens and underscores (valid_job_name), so that the CALL
-- reads the same however it is quoted.

CREATE OR REPLACE FUNCTION public.sync_cron_jobs() RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_role        text := current_setting('role');
    v_scheduled   integer;
    v_unscheduled integer;
BEGIN
    IF NOT EXISTS (SELECT 1 FROM pg_extension AS e WHERE e.extname = 'pg_cron') THEN
        RETURN 0;
    END IF;
    IF NOT has_schema_privilege('portal_maintenance', 'cron', 'USAGE') THEN
        RAISE EXCEPTION 'portal_maintenance may not use pg_cron''s schema'
            USING
                ERRCODE = 'insufficient_privilege',
                HINT = 'As a superuser: GRANT USAGE ON SCHEMA cron TO portal_maintenance; or run portaldb init.';
    END IF;

    PERFORM set_config('role', 'portal_maintenance', true);

    EXECUTE
        'SELECT count(cron.unschedule(c.jobid)) FROM cron.job AS c'
        ' WHERE c.username = current_user AND c.database = current_database()'
        ' AND NOT EXISTS (SELECT 1 FROM public.jobs AS j WHERE j.name = c.jobname AND j.is_active)'
    INTO v_unscheduled;

    EXECUTE
        'SELECT count(cron.schedule(j.name, j.schedule, j.call)) FROM ('
        'SELECT r.name, r.schedule, format(''CALL public.run_job(%L)'', r.name) AS call'
        ' FROM public.jobs AS r WHERE r.is_active) AS j'
        ' WHERE NOT EXISTS ('
        'SELECT 1 FROM cron.job AS c WHERE c.username = current_user'
        ' AND c.database = current_database() AND c.jobname = j.name'
        ' AND c.schedule = j.schedule AND c.command = j.call)'
    INTO v_scheduled;

    PERFORM set_config('role', v_role, true);
    RETURN v_unscheduled + v_scheduled;
END;
$$;

COMMENT ON FUNCTION public.sync_cron_jobs() IS
'Schedules in pg_cron the active jobs of the registry, each as CALL public.run_job(…), unschedules portal_maintenance''s '
'others in this database, and returns how many it changed; does nothing where pg_cron is not installed.';

DO $$
BEGIN
    PERFORM public.sync_cron_jobs();
END;
$$;
