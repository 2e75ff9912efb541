-- Refuses whatever would change or remove an audit entry, of the owner too, at every way in.
-- depends: 0131_refuse_audit_change 0132_audit_partitions 0133_retention_drops_partitions
--
-- Triggers and not privileges, because the owner has all of those. ENABLE ALWAYS, because a session
-- with session_replication_role = replica fires no other. Row triggers of the parent are copied to
-- each partition when it is attached; those of TRUNCATE are not, and the job makes them. Retention
-- itself passes by naming its own transaction in portal.audit_retention for as long as its DELETE
-- runs: an owner who does the same means it, as one who drops the trigger does. What an owner can
-- always do is DDL, and no trigger of an owner stops that.

CREATE TRIGGER refuse_audit_update
    BEFORE UPDATE ON public.audit_logs
    FOR EACH ROW EXECUTE FUNCTION public.refuse_audit_change();
-- pg_current_xact_id() is never NULL: the number that is compared with is always there.
CREATE TRIGGER refuse_audit_delete
    BEFORE DELETE ON public.audit_logs
    FOR EACH ROW WHEN (
        current_setting('portal.audit_retention', true)
        IS DISTINCT FROM pg_current_xact_id()::text
    )
    EXECUTE FUNCTION public.refuse_audit_change();
CREATE TRIGGER refuse_audit_truncate
    BEFORE TRUNCATE ON public.audit_logs
    FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_audit_change();

ALTER TABLE public.audit_logs ENABLE ALWAYS TRIGGER refuse_audit_update;
ALTER TABLE public.audit_logs ENABLE ALWAYS TRIGGER refuse_audit_delete;
ALTER TABLE public.audit_logs ENABLE ALWAYS TRIGGER refuse_audit_truncate;

DO $$
DECLARE
    v_partition regclass;
BEGIN
    FOR v_partition IN
        SELECT i.inhrelid
        FROM pg_catalog.pg_inherits AS i
        WHERE
            i.inhparent = 'public.audit_logs'::regclass
            AND NOT EXISTS (
                SELECT 1
                FROM pg_catalog.pg_trigger AS t
                WHERE t.tgrelid = i.inhrelid AND t.tgname = 'refuse_audit_truncate'
            )
        ORDER BY i.inhrelid
    LOOP
        EXECUTE pg_catalog.format(
            'CREATE TRIGGER refuse_audit_truncate BEFORE TRUNCATE ON %s'
            ' FOR EACH STATEMENT EXECUTE FUNCTION public.refuse_audit_change()',
            v_partition
        );
        EXECUTE pg_catalog.format(
            'ALTER TABLE %s ENABLE ALWAYS TRIGGER refuse_audit_truncate', v_partition
        );
    END LOOP;
END;
$$;
