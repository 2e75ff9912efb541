-- Removes audit entries older than 30 days.
-- depends: 0010_audit_logs 0016_audit_logs_policies
--
-- Definer and bounded for the reasons told in 0021_cleanup_expired_sessions. TimeZone is pinned,
-- because 30 days across a change of the clocks are not 720 hours in every zone.

CREATE FUNCTION public.cleanup_old_audit_logs() RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    v_limit bigint := coalesce(
        nullif(current_setting('portal.cleanup_limit', true), '')::bigint, 100000
    );
    deleted_count integer;
BEGIN
    WITH expired AS MATERIALIZED (
        SELECT
            a.id,
            a.timestamp
        FROM public.audit_logs AS a
        WHERE a.timestamp < CURRENT_TIMESTAMP - interval '30 days'
        LIMIT v_limit
        FOR UPDATE SKIP LOCKED
    )

    DELETE FROM public.audit_logs AS a
    USING expired
    WHERE a.id = expired.id AND a.timestamp = expired.timestamp;

    GET DIAGNOSTICS deleted_count = ROW_COUNT;
    RETURN deleted_count;
END;
$$;

GRANT EXECUTE ON FUNCTION public.cleanup_old_audit_logs() TO portal_maintenance;

COMMENT ON FUNCTION public.cleanup_old_audit_logs() IS
'Deletes audit entries older than 30 days, at most portal.cleanup_limit (100000) a call, and returns how many.';
