-- Makes the function as 0020 has it; a month that was cut into days becomes one partition again.
-- loses: no row, only the days that a month was cut into

CREATE OR REPLACE FUNCTION public.ensure_audit_partitions(
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

COMMENT ON FUNCTION public.ensure_audit_partitions(integer, timestamptz) IS
'Makes the missing monthly partitions of audit_logs from the month of p_now to p_months_ahead after it, '
'moves rows out of the default partition, and returns how many partitions it made.';

DO $$
DECLARE
    v_partition record;
BEGIN
    FOR v_partition IN
        SELECT p.partition
        FROM public.audit_partitions() AS p
        WHERE p.ends - p.starts <= interval '1 day'
    LOOP
        EXECUTE pg_catalog.format(
            'ALTER TABLE public.audit_logs DETACH PARTITION %s', v_partition.partition
        );
        EXECUTE pg_catalog.format(
            'INSERT INTO public.audit_logs SELECT * FROM %s', v_partition.partition
        );
        EXECUTE pg_catalog.format('DROP TABLE %s', v_partition.partition);
    END LOOP;
    PERFORM public.ensure_audit_partitions();
    FOR v_partition IN
        SELECT i.inhrelid::regclass AS partition
        FROM pg_catalog.pg_inherits AS i
        INNER JOIN pg_catalog.pg_trigger AS t ON i.inhrelid = t.tgrelid
        WHERE i.inhparent = 'public.audit_logs'::regclass AND t.tgname = 'refuse_audit_truncate'
    LOOP
        EXECUTE pg_catalog.format(
            'DROP TRIGGER refuse_audit_truncate ON %s', v_partition.partition
        );
    END LOOP;
END;
$$;

DROP FUNCTION public.audit_partitions();
