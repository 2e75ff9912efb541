-- With TEMPORARY granted by mistake, types and tables planted in pg_temp do not run with another's rights.
--
-- A domain runs its CHECK as whoever casts to it, a view its functions as whoever reads it: as the owner, where a
-- function with its owner's rights looks for names in pg_temp first. What is planted raises an error then.
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
DO $do$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO %I', current_database(), {role_name}); END $do$;

-- try: types and tables
CREATE FUNCTION pg_temp.spy() RETURNS boolean LANGUAGE plpgsql AS $spy$
BEGIN
    IF current_user <> {role_name} THEN
        RAISE SQLSTATE 'PV002' USING MESSAGE = 'what was planted ran as ' || current_user;
    END IF;
    RETURN true;
END
$spy$;
DO $do$
DECLARE
    v_made record;
BEGIN
    FOR v_made IN
        SELECT
            c.relname AS name,
            string_agg(format('NULL::%s AS %I', format_type(a.atttypid, NULL), a.attname), ', ') AS columns
        FROM pg_catalog.pg_class AS c
        INNER JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.oid = any({tables}::oid[])
        GROUP BY c.oid
    LOOP
        EXECUTE format('CREATE VIEW pg_temp.%I AS SELECT %s WHERE pg_temp.spy()', v_made.name, v_made.columns);
    END LOOP;
    FOR v_made IN
        SELECT DISTINCT t.typname AS name
        FROM pg_catalog.pg_type AS t
        WHERE
            t.typnamespace = 'pg_catalog'::regnamespace
            AND (
                EXISTS (SELECT FROM pg_catalog.pg_attribute AS a
                    WHERE a.attrelid = any({tables}::oid[]) AND a.atttypid IN (t.oid, t.typarray))
                OR EXISTS (SELECT FROM pg_catalog.pg_proc AS p
                    WHERE p.oid = any({functions}::oid[])
                    AND (t.oid = p.prorettype OR t.oid = any(p.proargtypes::oid[])))
            )
            AND t.typtype = 'b' AND t.typname NOT LIKE '\_%'
    LOOP
        EXECUTE format('CREATE DOMAIN pg_temp.%I AS pg_catalog.%I CHECK (pg_temp.spy())', v_made.name, v_made.name);
    END LOOP;
    PERFORM set_config('search_path', concat('pg_temp, ', {schema}, ', pg_catalog'), true);
    {run};
    PERFORM pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
END
$do$
