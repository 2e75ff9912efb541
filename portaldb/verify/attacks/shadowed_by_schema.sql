-- Functions and operators planted in a schema of the caller's, first in the search path, are called by nothing of ours:
-- neither by functions that run with their owner's rights, nor by the policies of the tables that the caller reads.
--
-- as: callers
-- each: definer
-- meant: harmless
-- live: no

-- before
DO $do$
DECLARE
    v_function oid;
BEGIN
    -- As in a new session: what a function has made of its names is forgotten.
    FOREACH v_function IN ARRAY {definers}::oid[]
    LOOP
        EXECUTE pg_get_functiondef(v_function);
    END LOOP;
END
$do$;
SET LOCAL ROLE {role};
DO $do$
DECLARE
    v_made record;
    v_body text := $$BEGIN RAISE SQLSTATE 'PV002' USING MESSAGE = 'what was planted ran as ' || current_user; END$$;
BEGIN
    FOR v_made IN
        SELECT
            p.proname AS name,
            pg_get_function_identity_arguments(p.oid) AS arguments,
            pg_get_function_result(p.oid) AS result
        FROM pg_proc AS p
        WHERE
            (
                p.oid = any({functions}::oid[])
                OR p.oid IN ('current_setting(text,boolean)'::regprocedure, 'now()'::regprocedure)
            )
            AND p.prokind = 'f' AND p.prorettype <> 'trigger'::regtype
    LOOP
        EXECUTE format(
            'CREATE FUNCTION portaldb_verify.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L',
            v_made.name, v_made.arguments, v_made.result, v_body
        );
    END LOOP;
    FOR v_made IN
        SELECT o.oprname AS name, format_type(o.oprleft, NULL) AS type, o.oid::text AS number
        FROM pg_operator AS o
        WHERE
            o.oprnamespace = 'pg_catalog'::regnamespace AND o.oprleft = o.oprright
            AND o.oprname IN ('=', '<>', '<', '>', '<=', '>=')
            AND o.oprleft IN (SELECT a.atttypid FROM pg_attribute AS a WHERE a.attrelid = any({tables}::oid[]))
    LOOP
        EXECUTE format(
            'CREATE FUNCTION portaldb_verify.o%s(%s, %s) RETURNS boolean LANGUAGE plpgsql AS %L',
            v_made.number, v_made.type, v_made.type, v_body
        );
        EXECUTE format(
            'CREATE OPERATOR portaldb_verify.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = portaldb_verify.o%s)',
            v_made.name, v_made.type, v_made.type, v_made.number
        );
    END LOOP;
END
$do$;
RESET ROLE;

-- try: functions and operators
DO $do$
DECLARE
    v_reads text[] := ARRAY(
        SELECT format('SELECT %I FROM %s', a.attname, a.attrelid::regclass)
        FROM pg_attribute AS a
        WHERE
            a.attrelid = any({tables}::oid[]) AND a.attnum = 1
            AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')
    );
    v_read  text;
BEGIN
    PERFORM set_config('search_path', concat('portaldb_verify, ', {schema}, ', pg_catalog'), true);
    {run};
    FOREACH v_read IN ARRAY v_reads
    LOOP
        EXECUTE v_read;
    END LOOP;
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
END
$do$
