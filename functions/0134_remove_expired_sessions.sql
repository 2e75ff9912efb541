-- The cleanup of sessions with the moment as an argument, so that a test can move the clock.
-- depends: 0065_cleanup_by_session_idle

CREATE FUNCTION public.remove_expired_sessions(p_now timestamptz) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
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
    WITH expired AS MATERIALIZED (
        SELECT s.id
        FROM public.user_sessions AS s
        WHERE
            s.expires_at < p_now
            OR (s.is_active = true AND s.last_activity < v_idle_before)
        LIMIT v_limit
        FOR UPDATE SKIP LOCKED
    )

    DELETE FROM public.user_sessions AS s
    USING expired
    WHERE s.id = expired.id;

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
