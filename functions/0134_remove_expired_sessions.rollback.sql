-- Makes the function as 0065 has it.

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

DROP FUNCTION public.remove_expired_sessions(timestamptz);
