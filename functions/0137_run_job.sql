-- Runs one job of the registry to its end and writes its history, for pg_cron and portaldb alike.
-- depends: 0136_job_runs
--
-- A procedure that commits between calls: each call of a job's command is a transaction of its own,
-- and the history says that a job is running while it runs. So it has no SECURITY DEFINER and no
-- SET clause, under which nothing may commit, and runs as whoever calls it: portal_maintenance. A
-- lock of the session keeps a job from being run twice at once; it goes with a session that dies,
-- and the next run finds what that one left as lost. A failure is written down, committed, and
-- raised again, so that pg_cron's own history tells of it too.

CREATE PROCEDURE public.run_job(p_name text)
LANGUAGE plpgsql
AS $$
DECLARE
    c_tries      CONSTANT integer := 5;
    v_key        bigint;
    v_job        record;
    v_run        uuid;
    v_calls      bigint := 0;
    v_tries      integer := 0;
    v_count      bigint;
    v_affected   bigint := 0;
    v_unfinished text;
    v_note       text;
    v_error      text;
    v_state      text;
BEGIN
    -- Inside somebody's transaction this is refused, before anything is locked or written.
    COMMIT;

    SELECT
        j.command,
        j.repeats
    INTO v_job
    FROM public.jobs AS j
    WHERE j.name = p_name;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no job of that name'
            USING
                ERRCODE = 'PT404',
                DETAIL = pg_catalog.format('It was %L.', p_name),
                HINT = 'public.jobs lists them.';
    END IF;

    v_key := pg_catalog.hashtextextended('public.jobs: ' || p_name, 0);
    IF NOT pg_catalog.pg_try_advisory_lock(v_key) THEN
        RAISE NOTICE 'job % is being run elsewhere', p_name;
        RETURN;
    END IF;

    UPDATE public.job_runs AS r
    SET
        result = 'lost',
        finished_at = pg_catalog.clock_timestamp(),
        note = 'whoever ran it went away'
    WHERE r.job = p_name AND r.result = 'running';
    -- pg_cron's background workers have no application_name, and are of a type of their own.
    INSERT INTO public.job_runs (job, runner)
    SELECT
        p_name,
        coalesce(nullif(a.application_name, ''), a.backend_type)
    FROM pg_catalog.pg_stat_activity AS a
    WHERE a.pid = pg_catalog.pg_backend_pid()
    RETURNING id INTO v_run;
    COMMIT;

    LOOP
        v_count := NULL;
        v_unfinished := NULL;
        BEGIN
            EXECUTE v_job.command INTO v_count;
            v_unfinished := nullif(
                pg_catalog.current_setting('portal.job_unfinished', true), ''
            );
            v_note := coalesce(
                nullif(pg_catalog.current_setting('portal.job_note', true), ''), v_note
            );
        EXCEPTION
            WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS
                    v_error = MESSAGE_TEXT,
                    v_state = RETURNED_SQLSTATE;
        END;
        v_calls := v_calls + 1;
        v_affected := v_affected + coalesce(v_count, 0);
        UPDATE public.job_runs AS r
        SET
            calls = v_calls,
            affected = v_affected
        WHERE r.id = v_run;
        COMMIT;

        EXIT WHEN v_error IS NOT NULL;
        IF v_unfinished IS NOT NULL THEN
            v_tries := v_tries + 1;
            EXIT WHEN v_tries = c_tries;
            PERFORM pg_catalog.pg_sleep(1);
            CONTINUE;
        END IF;
        EXIT WHEN NOT v_job.repeats OR coalesce(v_count, 0) = 0;
    END LOOP;

    UPDATE public.job_runs AS r
    SET
        finished_at = pg_catalog.clock_timestamp(),
        result = CASE
            WHEN v_error IS NOT NULL THEN 'failed'
            WHEN v_unfinished IS NOT NULL THEN 'unfinished'
            ELSE 'succeeded'
        END,
        note = coalesce(v_error, v_unfinished, v_note)
    WHERE r.id = v_run;
    COMMIT;
    PERFORM pg_catalog.pg_advisory_unlock(v_key);

    IF v_error IS NOT NULL THEN
        RAISE EXCEPTION '%', v_error
            USING
                ERRCODE = v_state,
                DETAIL = pg_catalog.format('Job %s failed in call %s.', p_name, v_calls),
                HINT = 'public.job_status tells of the last run of each job.';
    END IF;
END;
$$;

GRANT EXECUTE ON PROCEDURE public.run_job(text) TO portal_maintenance;

COMMENT ON PROCEDURE public.run_job (text) IS
'Runs a job of the registry and writes its history. A job that repeats is called again, each time in a transaction of its '
'own, until it returns 0; where it leaves work for want of a lock, it is tried five times, a second apart. What is being '
'run elsewhere is left alone. Call it outside a transaction.
Errors: 2D000 it is called inside a transaction; PT404 there is no such job; and whatever its command raises.
Example: CALL run_job(''cleanup-sessions'');';

-- One transaction's worth of history; both histories, where pg_cron is.
CREATE FUNCTION public.cleanup_job_runs(p_now timestamptz DEFAULT CURRENT_TIMESTAMP) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    v_limit bigint := coalesce(
        nullif(current_setting('portal.cleanup_limit', true), '')::bigint, 100000
    );
    v_before timestamptz := p_now - (
        SELECT s.value::interval FROM public.settings AS s WHERE s.name = 'job_history'
    );
    v_deleted integer;
    v_cron    integer := 0;
BEGIN
    DELETE FROM public.job_runs AS r
    WHERE r.id IN (
        SELECT o.id
        FROM public.job_runs AS o
        WHERE
            o.started_at < v_before AND o.result <> 'running'
            AND EXISTS (
                SELECT 1
                FROM public.job_runs AS n
                WHERE n.job = o.job AND n.started_at > o.started_at
            )
        ORDER BY o.started_at
        LIMIT v_limit
    );
    GET DIAGNOSTICS v_deleted = ROW_COUNT;

    -- Named in strings alone, since the function must also exist where pg_cron is not installed. A run
    -- that never began has no time; those before an old one are old.
    IF EXISTS (SELECT 1 FROM pg_extension AS e WHERE e.extname = 'pg_cron') THEN
        EXECUTE
            'DELETE FROM cron.job_run_details AS d WHERE d.runid IN ('
            'SELECT o.runid FROM cron.job_run_details AS o'
            ' WHERE coalesce(o.end_time, o.start_time) < $1'
            ' OR (o.start_time IS NULL AND o.end_time IS NULL AND o.runid < ('
            'SELECT max(m.runid) FROM cron.job_run_details AS m'
            ' WHERE coalesce(m.end_time, m.start_time) < $1))'
            ' LIMIT $2)'
        USING v_before, v_limit;
        GET DIAGNOSTICS v_cron = ROW_COUNT;
    END IF;
    RETURN v_deleted + v_cron;
END;
$$;

GRANT EXECUTE ON FUNCTION public.cleanup_job_runs(timestamptz) TO portal_maintenance;

COMMENT ON FUNCTION public.cleanup_job_runs(timestamptz) IS
'Deletes what is older than the setting job_history (30 days) from job_runs, but for each job''s last run, and from the '
'caller''s rows of pg_cron''s own history, at most portal.cleanup_limit (100000) rows of each a call, and returns how many.
Example: SELECT cleanup_job_runs();';
