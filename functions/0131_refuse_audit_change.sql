-- What the triggers of the audit trail answer to whoever would change or remove an entry.
-- depends: 0010_audit_logs

CREATE FUNCTION public.refuse_audit_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'an audit entry is neither changed nor removed'
        USING
            ERRCODE = 'restrict_violation',
            CONSTRAINT = tg_name,
            DETAIL = format('%s on %I.%I.', tg_op, tg_table_schema, tg_table_name),
            HINT = 'Entries go when they are older than the setting audit_retention, by cleanup_old_audit_logs().';
END;
$$;

COMMENT ON FUNCTION public.refuse_audit_change() IS
'Trigger: refuses UPDATE, DELETE and TRUNCATE of the audit trail, but for the DELETE of retention.
Errors: 23001 an audit entry is neither changed nor removed.';
