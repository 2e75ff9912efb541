-- Retention drops whole partitions of the trail, and deletes at the boundary alone.
-- depends: 0022_cleanup_old_audit_logs 0132_audit_partitions
--
-- A partition's rows are counted under a lock that keeps rows from being added to that partition,
-- which nobody does any more; only then is the parent locked, for as long as the DROP takes. One
-- partition with rows in it a call, since what a call has dropped keeps everyone out of the trail
-- until it commits. A lock that is not had within lock_timeout, which is also how long those behind
-- us wait, ends the call without an error, and portal.job_unfinished says why. The moment that
-- counts as now is an argument of the inner function, which the owner alone may execute.

CREATE FUNCTION public.drop_old_audit_logs(p_now timestamptz) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET lock_timeout = '100ms'
AS $$
DECLARE
    v_limit bigint := coalesce(
        nullif(current_setting('portal.cleanup_limit', true), '')::bigint, 100000
    );
    v_before    timestamptz := p_now - (
        SELECT s.value::interval FROM public.settings AS s WHERE s.name = 'audit_retention'
    );
    v_expired   regclass[];
    v_partition regclass;
    v_count     bigint;
    v_deleted   bigint := 0;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('public.audit_logs: partitions', 0)) THEN
        RAISE NOTICE 'another session is at work on the partitions; nothing was removed';
        PERFORM set_config('portal.job_unfinished', 'another session is at work on the partitions', true);
        RETURN 0;
    END IF;

    -- An empty one counts for nothing and must not end the caller's loop: on to the next.
    v_expired := ARRAY(
        SELECT p.partition
        FROM public.audit_partitions() AS p
        WHERE p.ends <= v_before
        ORDER BY p.starts
        LIMIT 12
    );
    FOREACH v_partition IN ARRAY v_expired
    LOOP
        BEGIN
            EXECUTE format('LOCK TABLE %s IN SHARE MODE', v_partition);
            EXECUTE format('SELECT count(*) FROM %s', v_partition) INTO v_count;
            EXECUTE format('DROP TABLE %s', v_partition);
        EXCEPTION
            WHEN lock_not_available OR deadlock_detected THEN
                RAISE NOTICE 'a lock was not had in time; the next call removes the rest';
                PERFORM set_config('portal.job_unfinished', 'a lock was not had in time', true);
                RETURN v_deleted;
        END;
        v_deleted := v_deleted + v_count;
        EXIT WHEN v_deleted > 0;
    END LOOP;
    IF v_deleted > 0 THEN
        RETURN least(v_deleted, 2147483647);
    END IF;

    PERFORM set_config('portal.audit_retention', pg_current_xact_id()::text, true);
    BEGIN
        WITH expired AS MATERIALIZED (
            SELECT
                a.id,
                a.timestamp
            FROM public.audit_logs AS a
            WHERE a.timestamp < v_before
            LIMIT v_limit
            FOR UPDATE SKIP LOCKED
        )

        DELETE FROM public.audit_logs AS a
        USING expired
        WHERE a.id = expired.id AND a.timestamp = expired.timestamp;

        GET DIAGNOSTICS v_deleted = ROW_COUNT;
    EXCEPTION
        WHEN lock_not_available OR deadlock_detected THEN
            RAISE NOTICE 'a lock was not had in time; the next call removes the rest';
            PERFORM set_config('portal.job_unfinished', 'a lock was not had in time', true);
    END;
    PERFORM set_config('portal.audit_retention', '', true);
    RETURN v_deleted;
END;
$$;

COMMENT ON FUNCTION public.drop_old_audit_logs(timestamptz) IS
'Does the work of cleanup_old_audit_logs() as if it were p_now; for the owner alone, since whoever chooses the moment '
'chooses what is removed.';

CREATE OR REPLACE FUNCTION public.cleanup_old_audit_logs() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN public.drop_old_audit_logs(CURRENT_TIMESTAMP);
END;
$$;

COMMENT ON FUNCTION public.cleanup_old_audit_logs() IS
'Removes audit entries older than the setting audit_retention (30 days) and returns how many. A call drops one partition '
'that holds nothing younger, or, where there is none left, deletes at most portal.cleanup_limit (100000) rows: call it until '
'it returns 0. Where a lock is not had within 100 ms it leaves the rest to the next call.
Example: SELECT cleanup_old_audit_logs();';
