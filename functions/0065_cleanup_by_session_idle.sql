-- The cleanup of sessions goes by the same session_idle as authenticate().
-- depends: 0021_cleanup_expired_sessions 0053_session_settings

CREATE OR REPLACE FUNCTION public.cleanup_expired_sessions() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_limit bigint := coalesce(
        nullif(current_setting('portal.cleanup_limit', true), '')::bigint, 100000
    );
    deleted_count integer;
BEGIN
    WITH expired AS MATERIALIZED (
        SELECT s.id
        FROM public.user_sessions AS s
        WHERE
            s.expires_at < CURRENT_TIMESTAMP
            OR (
                s.is_active = true
                AND s.last_activity < CURRENT_TIMESTAMP
                - (SELECT c.value FROM public.settings AS c WHERE c.name = 'session_idle')::interval
            )
        LIMIT v_limit
        FOR UPDATE SKIP LOCKED
    )

    DELETE FROM public.user_sessions AS s
    USING expired
    WHERE s.id = expired.id;

    GET DIAGNOSTICS deleted_count = ROW_COUNT;
    RETURN deleted_count;
END;
$$;

COMMENT ON FUNCTION public.cleanup_expired_sessions() IS
'Deletes sessions that have expired, or were idle for longer than the setting session_idle (30 minutes), at most '
'portal.cleanup_limit (100000) a call, and returns how many.';
