-- Makes the audit trail's partitions by month or by day, each under short locks or not at all.
-- depends: 0020_ensure_audit_partitions 0130_retention_settings 0131_refuse_audit_change
--
-- A range is what is missing, never what overlaps: after the setting changed, a month that is cut
-- into days goes on by days, one that has its partition keeps it, and no row moves. Only what lies
-- ahead, empty and cut the other way makes room.
--
-- Each partition is made in a subtransaction of its own. A lock that is not had in lock_timeout,
-- which is also how long those behind us wait, undoes that one partition and ends the call without
-- an error: the next call carries on, and portal.job_unfinished says why. A CHECK that says what
-- the bounds say spares ATTACH the scan, and goes when it has served.

CREATE FUNCTION public.audit_partitions()
RETURNS TABLE (partition regclass, starts timestamptz, ends timestamptz)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
AS $$
    SELECT
        b.oid::regclass,
        coalesce(substring(b.bound FROM 'FROM \(''([^'']+)''\)')::timestamptz, '-infinity'),
        coalesce(substring(b.bound FROM 'TO \(''([^'']+)''\)')::timestamptz, 'infinity')
    FROM (
        SELECT
            c.oid,
            pg_get_expr(c.relpartbound, c.oid) AS bound
        FROM pg_inherits AS i
        INNER JOIN pg_class AS c ON i.inhrelid = c.oid
        WHERE i.inhparent = 'public.audit_logs'::regclass
    ) AS b
    WHERE b.bound <> 'DEFAULT'
    ORDER BY 2
$$;

GRANT EXECUTE ON FUNCTION public.audit_partitions() TO portal_maintenance, portal_monitor;

COMMENT ON FUNCTION public.audit_partitions() IS
'Lists the partitions of audit_logs with their bounds, the oldest first; the default one, which has none, is left out.';

CREATE OR REPLACE FUNCTION public.ensure_audit_partitions(
    p_months_ahead integer DEFAULT 3,
    p_now timestamptz DEFAULT CURRENT_TIMESTAMP
) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET datestyle = 'ISO, YMD'
SET lock_timeout = '100ms'
AS $$
DECLARE
    c_at_once   CONSTANT integer := 12;
    v_daily     boolean := coalesce(
        (SELECT s.value = 'daily' FROM public.settings AS s WHERE s.name = 'audit_partitions'), false
    );
    v_today     timestamptz;
    v_last      timestamptz;
    v_obsolete  regclass[];
    v_partition regclass;
    v_ranges    tstzrange[];
    v_range     tstzrange;
    v_from      timestamptz;
    v_to        timestamptz;
    v_name      name;
    v_empty     boolean;
    v_rows      bigint;
    v_moved     bigint := 0;
    v_made      integer := 0;
    v_waits     boolean := false;
BEGIN
    IF p_months_ahead IS NULL OR p_months_ahead NOT BETWEEN 0 AND 36 THEN
        RAISE EXCEPTION 'p_months_ahead is %, which is not between 0 and 36', p_months_ahead
            USING
                ERRCODE = 'invalid_parameter_value',
                DETAIL = 'Each month ahead is a partition, or seven where they are daily.',
                HINT = 'Leave it out for 3.';
    END IF;
    IF p_now IS NULL OR NOT isfinite(p_now) THEN
        RAISE EXCEPTION 'p_now is no moment: %', p_now
            USING
                ERRCODE = 'invalid_parameter_value',
                DETAIL = 'Partitions are made from that moment on.',
                HINT = 'Leave it out for the present.';
    END IF;

    -- Two callers at once would make the same partition twice.
    IF NOT pg_try_advisory_xact_lock(hashtextextended('public.audit_logs: partitions', 0)) THEN
        RAISE NOTICE 'another session is at work on the partitions; nothing was made';
        PERFORM set_config('portal.job_unfinished', 'another session is at work on the partitions', true);
        RETURN 0;
    END IF;

    v_today := date_trunc('day', p_now);
    IF v_daily THEN
        v_last := v_today + make_interval(weeks => p_months_ahead);
    ELSE
        v_last := date_trunc('month', p_now) + make_interval(months => p_months_ahead + 1)
            - interval '1 day';
    END IF;

    v_obsolete := ARRAY(
        SELECT p.partition
        FROM public.audit_partitions() AS p
        WHERE
            p.starts > p_now
            AND CASE
                WHEN v_daily THEN p.ends - p.starts > interval '1 day'
                ELSE
                    p.ends - p.starts = interval '1 day'
                    AND p.starts >= date_trunc('month', p_now) + interval '1 month'
            END
    );
    FOREACH v_partition IN ARRAY v_obsolete
    LOOP
        BEGIN
            EXECUTE format('LOCK TABLE %s IN SHARE MODE', v_partition);
            EXECUTE format('SELECT NOT EXISTS (SELECT 1 FROM %s)', v_partition) INTO v_empty;
            IF v_empty THEN
                EXECUTE format('DROP TABLE %s', v_partition);
            END IF;
        EXCEPTION
            WHEN lock_not_available OR deadlock_detected THEN
                v_waits := true;
                EXIT;
        END;
    END LOOP;

    -- Collected first: a query still open on the default partition would keep ATTACH from altering
    -- it. What is needed is told by days; a month takes all of its days at once, where none of them
    -- has a partition yet.
    v_ranges := ARRAY(
        WITH there AS MATERIALIZED (
            SELECT
                p.starts,
                p.ends
            FROM public.audit_partitions() AS p
        )

        SELECT DISTINCT
            CASE
                WHEN v_daily OR EXISTS (
                    SELECT 1
                    FROM there AS p
                    WHERE
                        p.starts < date_trunc('month', n.day) + interval '1 month'
                        AND p.ends > date_trunc('month', n.day)
                ) THEN tstzrange(n.day, n.day + interval '1 day')
                ELSE
                    tstzrange(
                        date_trunc('month', n.day), date_trunc('month', n.day) + interval '1 month'
                    )
            END AS missing
        FROM (
            SELECT g.day
            FROM generate_series(v_today, v_last, interval '1 day') AS g (day)
            UNION
            SELECT date_trunc('day', d.timestamp)
            FROM public.audit_logs_default AS d
            WHERE isfinite(d.timestamp)
        ) AS n
        WHERE NOT EXISTS (
            SELECT 1
            FROM there AS p
            WHERE p.starts <= n.day AND p.ends > n.day
        )
        ORDER BY 1
    );
    -- The present first: whatever else has to wait.
    v_ranges := ARRAY(
        SELECT r.missing
        FROM unnest(v_ranges) AS r (missing)
        ORDER BY r.missing @> p_now DESC, r.missing
    );

    FOREACH v_range IN ARRAY v_ranges
    LOOP
        EXIT WHEN v_waits OR v_made = c_at_once;
        v_from := lower(v_range);
        v_to := upper(v_range);
        v_name := 'audit_logs_' || to_char(
            v_from, CASE WHEN v_to = v_from + interval '1 day' THEN 'YYYY_MM_DD' ELSE 'YYYY_MM' END
        );
        BEGIN
            EXECUTE format(
                'CREATE TABLE public.%I ('
                'LIKE public.audit_logs INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES,'
                ' CONSTRAINT audit_logs_bounds CHECK (timestamp >= %L AND timestamp < %L))',
                v_name, v_from, v_to
            );
            EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', v_name);
            EXECUTE format(
                'COMMENT ON TABLE public.%I IS %L',
                v_name,
                format(
                    'Audit trail of %s, UTC.',
                    to_char(
                        v_from,
                        CASE
                            WHEN v_to = v_from + interval '1 day' THEN 'FMDD FMMonth YYYY'
                            ELSE 'FMMonth YYYY'
                        END
                    )
                )
            );
            EXECUTE format(
                'CREATE TRIGGER refuse_audit_truncate BEFORE TRUNCATE ON public.%I'
                ' FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_audit_change()',
                v_name
            );
            EXECUTE format(
                'ALTER TABLE public.%I ENABLE ALWAYS TRIGGER refuse_audit_truncate', v_name
            );

            v_rows := 0;
            IF EXISTS (
                SELECT 1
                FROM public.audit_logs_default AS d
                WHERE d.timestamp >= v_from AND d.timestamp < v_to
            ) THEN
                LOCK TABLE public.audit_logs_default IN ACCESS EXCLUSIVE MODE;
                PERFORM set_config('portal.audit_retention', pg_current_xact_id()::text, true);
                EXECUTE format(
                    'WITH moved AS ('
                    'DELETE FROM public.audit_logs_default AS d'
                    ' WHERE d.timestamp >= $1 AND d.timestamp < $2 RETURNING d.*)'
                    ' INSERT INTO public.%I SELECT * FROM moved',
                    v_name
                ) USING v_from, v_to;
                GET DIAGNOSTICS v_rows = ROW_COUNT;
                PERFORM set_config('portal.audit_retention', '', true);
            END IF;

            EXECUTE format(
                'ALTER TABLE public.audit_logs ATTACH PARTITION public.%I'
                ' FOR VALUES FROM (%L) TO (%L)',
                v_name, v_from, v_to
            );
            EXECUTE format('ALTER TABLE public.%I DROP CONSTRAINT audit_logs_bounds', v_name);
            v_made := v_made + 1;
            v_moved := v_moved + v_rows;
        EXCEPTION
            WHEN lock_not_available OR deadlock_detected THEN
                v_waits := true;
        END;
    END LOOP;

    IF v_moved > 0 THEN
        RAISE NOTICE '% rows were moved out of audit_logs_default: the partitions were not made in time', v_moved;
        PERFORM set_config(
            'portal.job_note',
            format('%s rows were moved out of audit_logs_default: the partitions were not made in time', v_moved),
            true
        );
    END IF;
    IF v_waits THEN
        RAISE NOTICE 'a lock was not had in time; the next call makes the rest';
        PERFORM set_config('portal.job_unfinished', 'a lock was not had in time', true);
    END IF;
    RETURN v_made;
END;
$$;

COMMENT ON FUNCTION public.ensure_audit_partitions(integer, timestamptz) IS
'Makes the missing partitions of audit_logs from p_now to p_months_ahead months after it, where the setting audit_partitions '
'is daily to as many weeks after it; moves rows out of the default partition; and returns how many partitions it made, at '
'most 12 a call. Where a lock is not had within 100 ms it leaves the rest to the next call.
Errors: 22023 p_months_ahead is not between 0 and 36, or p_now is no moment.
Example: SELECT ensure_audit_partitions();';
