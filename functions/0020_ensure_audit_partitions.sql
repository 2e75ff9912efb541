-- Makes the audit trail's monthly partitions ahead of time, and makes the first of them.
-- depends: 0010_audit_logs
--
-- CREATE TABLE … PARTITION OF would lock out every reader and writer of the trail; a table made
-- beside it and attached does not. Rows that came while their month had no partition lie in the
-- default one, and ATTACH refuses until they are moved. A lock that does not come in time is an
-- error: the job's next run carries on. TimeZone is pinned, so that a month is the same whatever
-- the server's time zone.

CREATE FUNCTION public.ensure_audit_partitions(
    p_months_ahead integer DEFAULT 3,
    p_now timestamptz DEFAULT CURRENT_TIMESTAMP
) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET lock_timeout = '2s'
AS $$
DECLARE
    v_months timestamptz[];
    v_from   timestamptz;
    v_to     timestamptz;
    v_name   name;
    v_made   integer := 0;
BEGIN
    IF p_months_ahead IS NULL OR p_months_ahead NOT BETWEEN 0 AND 36 THEN
        RAISE EXCEPTION 'p_months_ahead is %, which is not between 0 and 36', p_months_ahead
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    -- Two callers at once would make the same partition twice.
    PERFORM pg_advisory_xact_lock(hashtextextended('public.audit_logs: partitions', 0));

    -- Collected first: a query still open on the default partition would keep ATTACH from altering
    -- it.
    v_months := ARRAY(
        SELECT date_trunc('month', p_now) + make_interval(months => g.ahead)
        FROM generate_series(0, p_months_ahead) AS g (ahead)
        UNION
        SELECT date_trunc('month', d.timestamp)
        FROM public.audit_logs_default AS d
        WHERE isfinite(d.timestamp)
        ORDER BY 1
    );

    FOREACH v_from IN ARRAY v_months
    LOOP
        v_to := v_from + interval '1 month';
        v_name := 'audit_logs_' || to_char(v_from, 'YYYY_MM');

        CONTINUE WHEN EXISTS (
            SELECT 1
            FROM pg_inherits AS i
            INNER JOIN pg_class AS c ON c.oid = i.inhrelid
            WHERE i.inhparent = 'public.audit_logs'::regclass AND c.relname = v_name
        );

        EXECUTE format(
            'CREATE TABLE public.%I ('
            'LIKE public.audit_logs INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES)',
            v_name
        );
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', v_name);
        EXECUTE format(
            'COMMENT ON TABLE public.%I IS %L',
            v_name, format('Audit trail of %s, UTC.', to_char(v_from, 'FMMonth YYYY'))
        );

        IF EXISTS (
            SELECT 1
            FROM public.audit_logs_default AS d
            WHERE d.timestamp >= v_from AND d.timestamp < v_to
        ) THEN
            LOCK TABLE public.audit_logs_default IN ACCESS EXCLUSIVE MODE;
            EXECUTE format(
                'WITH moved AS ('
                'DELETE FROM public.audit_logs_default AS d'
                ' WHERE d.timestamp >= $1 AND d.timestamp < $2 RETURNING d.*)'
                ' INSERT INTO public.%I SELECT * FROM moved',
                v_name
            ) USING v_from, v_to;
        END IF;

        EXECUTE format(
            'ALTER TABLE public.audit_logs ATTACH PARTITION public.%I'
            ' FOR VALUES FROM (%L) TO (%L)',
            v_name, v_from, v_to
        );
        v_made := v_made + 1;
    END LOOP;

    RETURN v_made;
END;
$$;

GRANT EXECUTE ON FUNCTION public.ensure_audit_partitions(integer, timestamptz)
TO portal_maintenance;

COMMENT ON FUNCTION public.ensure_audit_partitions(integer, timestamptz) IS
'Makes the missing monthly partitions of audit_logs from the month of p_now to p_months_ahead after it, '
'moves rows out of the default partition, and returns how many partitions it made.';

DO $$
BEGIN
    PERFORM public.ensure_audit_partitions();
END;
$$;
