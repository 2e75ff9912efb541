-- Drops the function that makes partitions, and those it made; their rows go to the default one.
-- loses: no row, only the partitions they lay in

DO $$
DECLARE
    v_partition regclass;
BEGIN
    FOR v_partition IN
        SELECT i.inhrelid
        FROM pg_catalog.pg_inherits AS i
        WHERE
            i.inhparent = 'public.audit_logs'::regclass
            AND i.inhrelid <> ALL (
                ARRAY[
                    'public.audit_logs_2024_01'::regclass,
                    'public.audit_logs_2024_02'::regclass,
                    'public.audit_logs_default'::regclass
                ]
            )
        ORDER BY i.inhrelid
    LOOP
        EXECUTE pg_catalog.format('ALTER TABLE public.audit_logs DETACH PARTITION %s', v_partition);
        EXECUTE pg_catalog.format('INSERT INTO public.audit_logs SELECT * FROM %s', v_partition);
        EXECUTE pg_catalog.format('DROP TABLE %s', v_partition);
    END LOOP;
END;
$$;

DROP FUNCTION public.ensure_audit_partitions(integer, timestamptz);
