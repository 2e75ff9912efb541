-- What `portaldb verify` looks at, and how it tries a statement as somebody.

-- name: session
SELECT
    pg_is_in_recovery() AS standby,
    current_database() AS database,
    to_regnamespace('portaldb_verify') IS NOT NULL AS planted,
    session_user AS login,
    ARRAY(
        SELECT wanted.name
        FROM unnest(%(roles)s::text[]) AS wanted (name)
        WHERE NOT EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = wanted.name)
    ) AS missing_roles,
    (SELECT r.rolsuper FROM pg_roles AS r WHERE r.rolname = session_user) AS superuser,
    current_setting('server_version_num')::int AS version

-- The throwaway database. Whoever makes one holds a lock on its name, until the end or its own: a name that can
-- be locked is nobody's.

-- name: claim
SELECT pg_advisory_lock(hashtextextended(%(name)s, 0))

-- name: create
CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'

-- name: mark
COMMENT ON DATABASE {database} IS {comment}

-- name: left_behind
SELECT d.datname::text AS name
FROM pg_database AS d
WHERE
    d.datname ~ '^portaldb_verify_[0-9a-f]{12}$'
    AND shobj_description(d.oid, 'pg_database') = %(comment)s
    AND NOT EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.datid = d.oid)
    AND pg_try_advisory_xact_lock(hashtextextended(d.datname, 0))

-- name: drop_left_behind
DROP DATABASE IF EXISTS {database}

-- name: pgtap
SELECT
    EXISTS (SELECT FROM pg_available_extensions AS e WHERE e.name = 'pgtap') AS available,
    current_setting('server_version_num')::int / 10000 AS major

-- name: relations
SELECT
    c.oid::int8 AS oid,
    n.nspname::text AS schema,
    c.relname::text AS name,
    c.relkind::text AS kind,
    (
        SELECT pn.nspname || '.' || p.relname
        FROM pg_partition_ancestors(c.oid) AS ancestor (relid)
        INNER JOIN pg_class AS p ON p.oid = ancestor.relid
        INNER JOIN pg_namespace AS pn ON pn.oid = p.relnamespace
        WHERE c.relispartition AND NOT p.relispartition
    ) AS partition_of,
    c.relkind IN ('v', 'm', 'S') AND pg_relation_is_updatable(c.oid, false) = 0 AS fixed,
    coalesce(c.reloptions, '{}')::text[] AS options,
    c.relrowsecurity AND c.relforcerowsecurity AS forced
FROM pg_class AS c
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE
    c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND n.nspname NOT LIKE 'pg\_toast%%'
    AND n.nspname NOT LIKE 'pg\_temp%%'
    AND n.nspname <> 'portaldb_verify'
    AND (%(schemas)s::text[] IS NULL OR n.nspname = any(%(schemas)s::text[]))
    AND EXISTS (
        SELECT
        FROM unnest(%(roles)s::text[]) AS r (name)
        WHERE
            has_schema_privilege(r.name, n.oid, 'USAGE')
            AND CASE
                WHEN c.relkind = 'S' THEN has_sequence_privilege(r.name, c.oid, 'USAGE, SELECT, UPDATE')
                ELSE has_any_column_privilege(r.name, c.oid, 'SELECT, INSERT, UPDATE, REFERENCES')
                    OR has_table_privilege(r.name, c.oid, 'DELETE, TRUNCATE, TRIGGER')
            END
    )
ORDER BY 2, 3

-- name: columns
SELECT
    a.attrelid::int8 AS oid,
    a.attname::text AS name,
    format_type(a.atttypid, NULL) AS type,
    t.typcategory::text AS category,
    a.attnotnull AND NOT a.atthasdef AS needed,
    EXISTS (
        SELECT FROM pg_index AS i
        WHERE i.indrelid = a.attrelid AND i.indisprimary AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum
    ) AS alone_primary
FROM pg_attribute AS a
INNER JOIN pg_type AS t ON t.oid = a.atttypid
WHERE a.attrelid = any(%(oids)s::oid[]) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum

-- name: foreign_keys
SELECT
    c.conname::text AS name,
    c.conrelid::int8 AS oid,
    c.confrelid::int8 AS target,
    format('%%I.%%I', n.nspname, r.relname) AS source,
    a.attname::text AS source_column,
    b.attname::text AS target_column,
    CASE c.confdeltype
        WHEN 'c' THEN 'cascade'
        WHEN 'n' THEN 'set null'
        WHEN 'd' THEN 'set default'
        ELSE 'refuse'
    END AS on_delete
FROM pg_constraint AS c
INNER JOIN pg_class AS r ON r.oid = c.conrelid
INNER JOIN pg_namespace AS n ON n.oid = r.relnamespace
INNER JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
INNER JOIN pg_attribute AS b ON b.attrelid = c.confrelid AND b.attnum = c.confkey[1]
WHERE c.contype = 'f' AND c.conparentid = 0 AND cardinality(c.conkey) = 1
ORDER BY 4, 1

-- name: functions
SELECT
    p.oid::int8 AS oid,
    n.nspname::text AS schema,
    format(
        '%%s(%%s)', p.proname,
        (
            SELECT string_agg(format_type(given.type, NULL), ',' ORDER BY given.place)
            FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS given (type, place)
        )
    ) AS signature,
    format('%%I.%%I', n.nspname, p.proname) AS called,
    ARRAY(
        SELECT format_type(given.type, NULL)
        FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS given (type, place)
        ORDER BY given.place
    ) AS arguments,
    p.prokind::text AS kind,
    l.lanname = 'sql' AS unfolds,
    p.prosecdef AS definer,
    pg_get_userbyid(p.proowner)::text AS owner,
    p.prosqlbody IS NOT NULL
    OR EXISTS (SELECT FROM unnest(p.proconfig) AS s (setting) WHERE s.setting LIKE 'search_path=%%') AS pinned
FROM pg_proc AS p
INNER JOIN pg_namespace AS n ON n.oid = p.pronamespace
INNER JOIN pg_language AS l ON l.oid = p.prolang
WHERE
    n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND n.nspname NOT LIKE 'pg\_temp%%'
    AND n.nspname <> 'portaldb_verify'
    AND (%(schemas)s::text[] IS NULL OR n.nspname = any(%(schemas)s::text[]))
    AND NOT EXISTS (
        SELECT FROM pg_depend AS d
        WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    )
    AND EXISTS (
        SELECT FROM unnest(%(roles)s::text[]) AS r (name)
        WHERE has_schema_privilege(r.name, n.oid, 'USAGE')
    )
ORDER BY 2, 3

-- name: policies
SELECT
    p.polrelid::int8 AS oid,
    p.polname::text AS name,
    p.polpermissive AS permissive,
    CASE p.polcmd
        WHEN 'r' THEN 'select'
        WHEN 'a' THEN 'insert'
        WHEN 'w' THEN 'update'
        WHEN 'd' THEN 'delete'
        ELSE 'all'
    END AS command,
    ARRAY(
        SELECT CASE WHEN named.oid = 0 THEN 'public' ELSE pg_get_userbyid(named.oid) END::text
        FROM unnest(p.polroles) AS named (oid)
        ORDER BY 1
    ) AS roles,
    pg_get_expr(p.polqual, p.polrelid) AS using,
    pg_get_expr(p.polwithcheck, p.polrelid) AS check
FROM pg_policy AS p
WHERE p.polrelid = any(%(oids)s::oid[])
ORDER BY 1, 2

-- name: rules
-- Constraints, unique indexes, NOT NULL columns and triggers, each where it is made and not where it is inherited.
SELECT
    c.conrelid::int8 AS oid,
    c.conname::text AS name,
    CASE c.contype
        WHEN 'c' THEN 'check'
        WHEN 'f' THEN 'foreign key'
        WHEN 'p' THEN 'primary key'
        WHEN 'x' THEN 'exclusion'
        ELSE 'unique'
    END AS kind,
    pg_get_constraintdef(c.oid) AS definition
FROM pg_constraint AS c
WHERE
    c.conrelid = any(%(oids)s::oid[])
    AND c.contype IN ('c', 'f', 'p', 'u', 'x')
    AND c.conparentid = 0
    AND c.coninhcount = 0
UNION ALL
SELECT
    i.indrelid::int8,
    c.relname::text,
    'unique index',
    pg_get_indexdef(i.indexrelid)
FROM pg_index AS i
INNER JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE
    i.indrelid = any(%(oids)s::oid[])
    AND i.indisunique
    AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid AND k.conrelid = i.indrelid)
    AND NOT EXISTS (SELECT FROM pg_inherits AS h WHERE h.inhrelid = i.indexrelid)
UNION ALL
SELECT
    a.attrelid::int8,
    a.attname::text,
    'not null',
    'NOT NULL'
FROM pg_attribute AS a
INNER JOIN pg_class AS c ON c.oid = a.attrelid
WHERE
    a.attrelid = any(%(oids)s::oid[])
    AND a.attnum > 0
    AND a.attnotnull
    AND NOT a.attisdropped
    AND a.attidentity = ''
    AND NOT c.relispartition
    AND NOT EXISTS (
        SELECT FROM pg_index AS i WHERE i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = any(i.indkey)
    )
UNION ALL
SELECT
    t.tgrelid::int8,
    t.tgname::text,
    'trigger',
    pg_get_triggerdef(t.oid)
FROM pg_trigger AS t
WHERE t.tgrelid = any(%(oids)s::oid[]) AND NOT t.tgisinternal AND t.tgparentid = 0
ORDER BY 1, 2

-- name: roles
SELECT
    r.rolname::text AS name,
    r.rolsuper AS superuser,
    r.rolbypassrls AS bypassrls,
    r.rolcreaterole AS createrole,
    r.rolcreatedb AS createdb,
    r.rolreplication AS replication,
    ARRAY(
        SELECT DISTINCT g.rolname::text
        FROM pg_auth_members AS m
        INNER JOIN pg_roles AS g ON g.oid = m.roleid
        WHERE m.member = r.oid
        ORDER BY 1
    ) AS member_of,
    has_database_privilege(r.oid, current_database(), 'TEMPORARY') AS temporary,
    has_database_privilege(r.oid, current_database(), 'CREATE') AS makes_schemas,
    ARRAY(
        SELECT n.nspname::text
        FROM pg_namespace AS n
        WHERE
            n.nspname NOT LIKE 'pg\_%%'
            AND n.nspname NOT IN ('information_schema', 'portaldb_verify')
            AND (%(schemas)s::text[] IS NULL OR n.nspname = any(%(schemas)s::text[]))
            AND has_schema_privilege(r.oid, n.oid, 'CREATE')
        ORDER BY 1
    ) AS creates_in
FROM pg_roles AS r
WHERE r.rolname = any(%(roles)s)
ORDER BY 1

-- name: defaults
-- Who is granted something on whatever these roles make next.
SELECT DISTINCT
    o.name AS owner,
    CASE k.kind WHEN 'r' THEN 'tables' WHEN 'S' THEN 'sequences' WHEN 'f' THEN 'functions' ELSE 'schemas' END AS kind,
    CASE WHEN acl.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(acl.grantee)::text END AS grantee
FROM unnest(%(owners)s::text[]) AS o (name)
INNER JOIN pg_roles AS r ON r.rolname = o.name
CROSS JOIN unnest('{r,S,f,n}'::"char"[]) AS k (kind)
CROSS JOIN LATERAL (
    SELECT coalesce(
        (
            SELECT d.defaclacl
            FROM pg_default_acl AS d
            WHERE d.defaclrole = r.oid AND d.defaclnamespace = 0 AND d.defaclobjtype = k.kind
        ),
        acldefault(CASE k.kind WHEN 'S' THEN 's' ELSE k.kind END, r.oid)
    ) AS acl
    UNION ALL
    SELECT d.defaclacl
    FROM pg_default_acl AS d
    WHERE d.defaclrole = r.oid AND d.defaclnamespace <> 0 AND d.defaclobjtype = k.kind
) AS given
CROSS JOIN LATERAL aclexplode(given.acl) AS acl
WHERE acl.grantee <> r.oid
ORDER BY 1, 2, 3

-- name: privileges
SELECT
    wanted.n,
    CASE
        WHEN wanted.col IS NOT NULL
            THEN has_column_privilege(wanted.role, wanted.oid::oid, wanted.col, wanted.privilege)
        WHEN wanted.privilege = 'REFERENCES'
            THEN has_any_column_privilege(wanted.role, wanted.oid::oid, wanted.privilege)
        ELSE has_table_privilege(wanted.role, wanted.oid::oid, wanted.privilege)
    END AS has
FROM jsonb_to_recordset(%(wanted)s::jsonb) AS wanted (n int, role text, oid int8, col text, privilege text)

-- name: asked
SELECT CASE WHEN {has} THEN 'allowed' ELSE 'refused' END

-- name: present
SELECT coalesce(jsonb_object_agg({key}::text, {place}), '{{}}'::jsonb) AS found
FROM {relation} AS t
WHERE {key} = any({keys})

-- name: scratch
CREATE SCHEMA portaldb_verify;
GRANT USAGE, CREATE ON SCHEMA portaldb_verify TO {roles};
CREATE FUNCTION portaldb_verify.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
GRANT EXECUTE ON FUNCTION portaldb_verify.nothing() TO {roles};

-- name: try
CREATE FUNCTION pg_temp.portaldb_try(p_trials jsonb, p_setting text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_trial  jsonb;
    v_step   text;
    v_found  text;
    v_count  bigint;
    v_ready  boolean;
    v_answer jsonb;
    v_object text;
    v_schema text;
    v_table  text;
    v_column text;
    v_all    jsonb[] := '{}';
BEGIN
    FOR v_trial IN SELECT jsonb_array_elements(p_trials)
    LOOP
        v_found := NULL;
        v_ready := false;
        -- A block with a handler is a savepoint: whatever the statement did is undone at its end.
        BEGIN
            FOR v_step IN SELECT jsonb_array_elements_text(v_trial -> 'before')
            LOOP
                EXECUTE v_step;
            END LOOP;
            v_ready := true;
            PERFORM set_config(p_setting, coalesce(v_trial ->> 'context', ''), true);
            IF v_trial ? 'session' THEN
                PERFORM set_config('session_authorization', v_trial ->> 'session', true);
            ELSE
                PERFORM set_config('role', v_trial ->> 'role', true);
            END IF;
            IF v_trial ? 'row_security' THEN
                PERFORM set_config('row_security', v_trial ->> 'row_security', true);
            END IF;
            IF (v_trial ->> 'fetch')::boolean THEN
                EXECUTE v_trial ->> 'sql' INTO v_found;
                v_count := 0;
            ELSE
                EXECUTE v_trial ->> 'sql';
                GET DIAGNOSTICS v_count = ROW_COUNT;
            END IF;
            IF v_trial ? 'look' THEN
                PERFORM set_config('role', 'none', true);
                PERFORM set_config('row_security', 'on', true);
                EXECUTE v_trial ->> 'look' INTO v_found;
            END IF;
            RAISE SQLSTATE 'PV001'
                USING MESSAGE = jsonb_build_object('state', '00000', 'rows', v_count, 'found', v_found)::text;
        EXCEPTION
            WHEN SQLSTATE 'PV001' THEN
                v_answer := sqlerrm::jsonb;
            WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS
                    v_object = CONSTRAINT_NAME, v_schema = SCHEMA_NAME, v_table = TABLE_NAME, v_column = COLUMN_NAME;
                IF v_object <> '' THEN
                    -- A partition's constraint is its parent's, under a name of its own.
                    v_object := coalesce(
                        (
                            SELECT parent.conname
                            FROM pg_constraint AS c
                            INNER JOIN pg_constraint AS parent ON parent.oid = c.conparentid
                            WHERE c.conname = v_object AND c.conrelid = to_regclass(format('%I.%I', v_schema, v_table))
                        ),
                        v_object
                    );
                END IF;
                v_answer := jsonb_build_object(
                    -- What went wrong before the trial is no answer to it.
                    'state', CASE WHEN v_ready THEN sqlstate ELSE 'PV003' END, 'cause', sqlstate, 'said', sqlerrm,
                    'constraint', v_object, 'column', v_column
                );
        END;
        v_all := v_all || v_answer;
    END LOOP;
    RETURN to_jsonb(v_all);
END;
$$

-- name: run
SELECT pg_temp.portaldb_try(%(trials)s::jsonb, %(setting)s) AS answers

-- name: savepoint
SAVEPOINT portaldb_verify

-- name: become
SELECT set_config({setting}, {context}, true), set_config('role', {role}, true)

-- name: become_oneself
ROLLBACK TO SAVEPOINT portaldb_verify;
RELEASE SAVEPOINT portaldb_verify

-- The statements that are tried. WHERE false runs through the rights and reaches no row.

-- name: select_column
SELECT {column} FROM {relation} WHERE false

-- name: select_rows
SELECT array_to_json(array_agg(t.{key}::text)) FROM {relation} AS t WHERE t.{key} = any({keys})

-- name: insert_column
INSERT INTO {relation} ({column}) SELECT NULL WHERE false

-- name: insert_row
INSERT INTO {relation} ({columns}) VALUES ({values})

-- name: update_column
UPDATE {relation} SET {column} = DEFAULT WHERE false

-- name: update_rows
UPDATE {relation} SET {column} = {value}

-- name: update_rows_live
UPDATE {relation} SET {column} = {value} WHERE {key} = any({keys})

-- name: delete_none
DELETE FROM {relation} WHERE false

-- name: delete_rows
DELETE FROM {relation}

-- name: delete_rows_live
DELETE FROM {relation} WHERE {key} = any({keys})

-- name: clear
DELETE FROM {relation} WHERE {column} = any({keys})

-- name: still_there
SELECT 1 / count(*) FROM {relation} WHERE {key} = {value}

-- name: became
SELECT CASE WHEN count(*) = 0 THEN 'cascade' WHEN count({column}) = 0 THEN 'set null' ELSE 'kept' END
FROM {relation}
WHERE {key} = {value}

-- name: truncate
TRUNCATE {relation}

-- name: maintain
REINDEX TABLE {relation}

-- name: references
CREATE TABLE portaldb_verify.refers (c {type} REFERENCES {relation} ({column}))

-- name: trigger
CREATE TRIGGER portaldb_verify BEFORE INSERT ON {relation}
FOR EACH ROW EXECUTE FUNCTION portaldb_verify.nothing()

-- name: grant_select
GRANT SELECT ON {relation} TO {role}

-- name: call
SELECT {function}({arguments}) FROM (SELECT {values} OFFSET 0) AS v WHERE false

-- name: set_role
SELECT set_config('role', {role}, true)

-- name: function_privileges
SELECT
    wanted.n,
    has_function_privilege(wanted.role, wanted.oid::oid, 'EXECUTE') AS has
FROM jsonb_to_recordset(%(wanted)s::jsonb) AS wanted (n int, role text, oid int8)

-- name: sequence_privileges
SELECT
    wanted.n,
    has_sequence_privilege(wanted.role, wanted.oid::oid, wanted.privilege)
    -- USAGE and UPDATE both allow nextval.
    OR (wanted.privilege = 'USAGE' AND has_sequence_privilege(wanted.role, wanted.oid::oid, 'UPDATE')) AS has
FROM jsonb_to_recordset(%(wanted)s::jsonb) AS wanted (n int, role text, oid int8, privilege text)
