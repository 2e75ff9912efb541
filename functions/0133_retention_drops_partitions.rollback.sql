-- Retention deletes row by row, as 0022 has it.
-- loses: nothing; what retention has dropped stays dropped

CREATE OR REPLACE FUNCTION public.cleanup_old_audit_logs() RETURNS integer
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

COMMENT ON FUNCTION public.cleanup_old_audit_logs() IS
'Deletes audit entries older than 30 days, at most portal.cleanup_limit (100000) a call, and returns how many.';

DROP FUNCTION public.drop_old_audit_logs(timestamptz);

-- The two that the earlier files name.
DO $$
DECLARE
    v_month date;
    v_name  text;
BEGIN
    FOREACH v_month IN ARRAY ARRAY['2024-01-01', '2024-02-01']::date[]
    LOOP
        v_name := 'audit_logs_' || pg_catalog.to_char(v_month, 'YYYY_MM');
        CONTINUE WHEN pg_catalog.to_regclass('public.' || v_name) IS NOT NULL;
        EXECUTE pg_catalog.format(
            'CREATE TABLE public.%I PARTITION OF public.audit_logs FOR VALUES FROM (%L) TO (%L)',
            v_name, v_month || ' 00:00:00+00', (v_month + interval '1 month')::date || ' 00:00:00+00'
        );
        EXECUTE pg_catalog.format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', v_name);
        EXECUTE pg_catalog.format(
            'COMMENT ON TABLE public.%I IS %L',
            v_name, pg_catalog.format('Audit trail of %s, UTC.', pg_catalog.to_char(v_month, 'FMMonth YYYY'))
        );
    END LOOP;
END;
$$;
