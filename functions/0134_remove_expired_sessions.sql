-- The cleanup of sessions with the moment as an argument, so that a test can move the clock.
-- depends: 0065_cleanup_by_session_idle
--
-- Rows are found once and deleted where they lie: to lock them first, so as to pass over those that
-- are locked, costs more than half of the time. So that is done only where a row could not be had
-- within lock_timeout. A row that was changed meanwhile lies elsewhere, and stays.

CREATE FUNCTION public.remove_expired_sessions(p_now timestamptz) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET lock_timeout = '100ms'
AS $$
DECLARE
    v_limit bigint := coalesce(
        nullif(current_setting('portal.cleanup_limit', true), '')::bigint, 100000
    );
    v_idle_before timestamptz := p_now - (
        SELECT c.value::interval FROM public.settings AS c WHERE c.name = 'session_idle'
    );
    v_deleted integer;
BEGIN
    BEGIN
        DELETE FROM public.user_sessions AS s
        WHERE
            s.ctid = ANY (
                ARRAY(
                    SELECT e.ctid
                    FROM public.user_sessions AS e
                    WHERE
                        e.expires_at < p_now
                        OR (e.is_active = true AND e.last_activity < v_idle_before)
                    LIMIT v_limit
                )
            )
            AND (
                s.expires_at < p_now
                OR (s.is_active = true AND s.last_activity < v_idle_before)
            );
        GET DIAGNOSTICS v_deleted = ROW_COUNT;
        RETURN v_deleted;
    EXCEPTION
        WHEN lock_not_available OR deadlock_detected THEN
            NULL;
    END;

    WITH expired AS MATERIALIZED (
        SELECT e.ctid AS place
        FROM public.user_sessions AS e
        WHERE
            e.expires_at < p_now
            OR (e.is_active = true AND e.last_activity < v_idle_before)
        LIMIT v_limit
        FOR UPDATE SKIP LOCKED
    )

    DELETE FROM public.user_sessions AS s
    WHERE s.ctid = ANY (ARRAY(SELECT x.place FROM expired AS x));
    GET DIAGNOSTICS v_deleted = ROW_COUNT;
    RETURN v_deleted;
END;
$$;

COMMENT ON FUNCTION public.remove_expired_sessions(timestamptz) IS
'Does the work of cleanup_expired_sessions() as if it were p_now; for the owner alone, since whoever chooses the moment '
'chooses what is removed.';

CREATE OR REPLACE FUNCTION public.cleanup_expired_sessions() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN public.remove_expired_sessions(CURRENT_TIMESTAMP);
END;
$$;
