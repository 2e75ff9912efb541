-- What `portaldb backup` and `portaldb restore` ask a database. {name}s are filled with quoted identifiers.

-- name: prepare
-- A backup takes as long as it takes; and what a value hashes to is no matter of the session's settings.
SELECT
    set_config('statement_timeout', '0', false),
    set_config('lock_timeout', '0', false),
    set_config('idle_in_transaction_session_timeout', '0', false),
    set_config('idle_session_timeout', '0', false),
    set_config('TimeZone', 'UTC', false),
    set_config('DateStyle', 'ISO, YMD', false),
    set_config('IntervalStyle', 'postgres', false),
    set_config('bytea_output', 'hex', false),
    set_config('extra_float_digits', '1', false),
    set_config('search_path', 'pg_catalog, pg_temp', false)

-- name: who
-- portal_backup goes past Row-Level Security itself; its members do so as it, and not by inheritance.
SELECT
    current_setting('server_version_num')::int AS version,
    current_database()::text AS database,
    session_user::text AS login,
    (r.rolsuper OR r.rolbypassrls) AS sees_all,
    EXISTS (
        SELECT
        FROM pg_roles AS b
        WHERE b.rolname = 'portal_backup' AND b.rolbypassrls AND pg_has_role(session_user, b.oid, 'MEMBER')
    ) AS may_be_backup,
    pg_is_in_recovery() AS standby,
    (SELECT c.system_identifier::text FROM pg_control_system() AS c) AS system
FROM pg_roles AS r
WHERE r.rolname = session_user

-- name: snapshot
SELECT pg_export_snapshot() AS id

-- name: now
SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS now

-- name: tables
-- Every table that holds rows, with the partitioned table it hangs below. `guarded` is one that Row-Level Security
-- holds for who asks; `open`, one whose policies for that role let everything through, each of them: pg_dump refuses
-- to read a policy that asks a view, whatever the others say.
SELECT
    c.oid::int8 AS oid,
    n.nspname::text AS schema,
    c.relname::text AS name,
    rn.nspname::text AS root_schema,
    root.relname::text AS root_name,
    pg_table_size(c.oid) AS bytes,
    has_table_privilege(c.oid, 'SELECT') AS readable,
    row_security_active(c.oid) AS guarded,
    coalesce(
        (
            SELECT bool_and(p.polpermissive AND pg_get_expr(p.polqual, p.polrelid) = 'true')
            FROM pg_policy AS p
            WHERE
                p.polrelid = c.oid
                AND p.polcmd IN ('r', '*')
                AND EXISTS (SELECT FROM unnest(p.polroles) AS r (oid) WHERE r.oid = 0 OR pg_has_role(r.oid, 'USAGE'))
        ),
        false
    ) AS open
FROM pg_class AS c
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
INNER JOIN pg_class AS root ON root.oid = coalesce(
    CASE WHEN c.relispartition THEN pg_partition_root(c.oid)::oid END, c.oid
)
INNER JOIN pg_namespace AS rn ON rn.oid = root.relnamespace
WHERE
    c.relkind = 'r'
    AND c.relpersistence <> 't'
    AND n.nspname NOT LIKE 'pg\_%'
    AND n.nspname NOT IN ('information_schema', 'portaldb_verify')
    AND NOT EXISTS (
        SELECT
        FROM pg_depend AS d
        WHERE
            d.deptype = 'e'
            AND (
                (d.classid = 'pg_class'::regclass AND d.objid = c.oid)
                OR (d.classid = 'pg_namespace'::regclass AND d.objid = n.oid)
            )
    )
ORDER BY 2, 3

-- name: rows_by_record
SELECT count(*) AS rows, coalesce(sum(hash_record_extended(t, 0)), 0)::text AS hash FROM ONLY {table} AS t

-- name: rows_by_text
SELECT count(*) AS rows, coalesce(sum(hashtextextended(t::text, 0)), 0)::text AS hash FROM ONLY {table} AS t

-- name: roles_named
-- The roles that own something here, are granted something, or that a policy is for.
SELECT DISTINCT r.rolname::text AS name
FROM pg_shdepend AS d
INNER JOIN pg_roles AS r ON r.oid = d.refobjid
WHERE
    d.refclassid = 'pg_authid'::regclass
    AND d.dbid = (SELECT b.oid FROM pg_database AS b WHERE b.datname = current_database())
    AND r.rolname NOT LIKE 'pg\_%'
ORDER BY 1

-- name: roles
-- Our roles, those that something here names, and whoever is a member of one of them. Without passwords.
WITH RECURSIVE wanted (oid) AS (
    SELECT r.oid
    FROM pg_roles AS r
    WHERE r.rolname = ANY (%(names)s)
    UNION
    SELECT m.member
    FROM pg_auth_members AS m
    INNER JOIN wanted AS w ON w.oid = m.roleid
)

SELECT
    r.rolname::text AS name,
    concat_ws(
        ' ',
        CASE WHEN r.rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
        CASE WHEN NOT r.rolinherit THEN 'NOINHERIT' END,
        CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END,
        CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
        CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END,
        CASE WHEN r.rolconnlimit >= 0 THEN format('CONNECTION LIMIT %%s', r.rolconnlimit) END
    ) AS attributes,
    ARRAY(
        SELECT g.rolname::text
        FROM pg_auth_members AS m
        INNER JOIN pg_roles AS g ON g.oid = m.roleid
        WHERE m.member = r.oid
        ORDER BY 1
    ) AS member_of,
    shobj_description(r.oid, 'pg_authid') AS comment
FROM pg_roles AS r
WHERE r.oid IN (SELECT w.oid FROM wanted AS w) AND NOT r.rolsuper AND r.rolname NOT LIKE 'pg\_%%'
ORDER BY 1

-- name: missing_roles
SELECT w.name FROM unnest(%(names)s::text[]) AS w (name) WHERE to_regrole(quote_ident(w.name)) IS NULL ORDER BY 1

-- name: objects
-- What stands in the schemas of people: nothing of an extension, and no index, constraint or row type of a table.
SELECT
    c.kind,
    c.name
FROM (
    SELECT
        CASE c.relkind
            WHEN 'v' THEN 'VIEW'
            WHEN 'm' THEN 'MATERIALIZED VIEW'
            WHEN 'S' THEN 'SEQUENCE'
            WHEN 'f' THEN 'FOREIGN TABLE'
            WHEN 'c' THEN 'TYPE'
            ELSE 'TABLE'
        END AS kind,
        format('%I.%I', n.nspname, c.relname) AS name,
        c.tableoid AS classid,
        c.oid,
        n.oid AS namespace,
        CASE c.relkind WHEN 'v' THEN 1 WHEN 'm' THEN 1 WHEN 'S' THEN 3 WHEN 'c' THEN 5 ELSE 2 END AS turn
    FROM pg_class AS c
    INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c') AND NOT c.relispartition
    UNION ALL
    SELECT
        CASE p.prokind WHEN 'p' THEN 'PROCEDURE' WHEN 'a' THEN 'AGGREGATE' ELSE 'FUNCTION' END,
        format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
        p.tableoid,
        p.oid,
        n.oid,
        4
    FROM pg_proc AS p
    INNER JOIN pg_namespace AS n ON n.oid = p.pronamespace
    UNION ALL
    SELECT
        CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END,
        format('%I.%I', n.nspname, t.typname),
        t.tableoid,
        t.oid,
        n.oid,
        6
    FROM pg_type AS t
    INNER JOIN pg_namespace AS n ON n.oid = t.typnamespace
    WHERE t.typtype IN ('d', 'e', 'r')
) AS c
INNER JOIN pg_namespace AS n ON n.oid = c.namespace
WHERE
    n.nspname NOT LIKE 'pg\_%'
    AND n.nspname <> 'information_schema'
    AND NOT EXISTS (
        SELECT
        FROM pg_depend AS d
        WHERE
            d.deptype IN ('e', 'i', 'a')
            AND (
                (d.classid = c.classid AND d.objid = c.oid AND (d.deptype = 'e' OR c.kind = 'SEQUENCE'))
                OR (d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')
            )
    )
ORDER BY c.turn, c.name

-- name: schemas
SELECT n.nspname::text AS name
FROM pg_namespace AS n
WHERE
    n.nspname NOT LIKE 'pg\_%'
    AND n.nspname NOT IN ('information_schema', 'public')
    AND NOT EXISTS (
        SELECT FROM pg_depend AS d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e'
    )
ORDER BY 1

-- name: applied
SELECT p.migration_id AS id, p.checksum FROM public._portaldb_migration AS p WHERE p.state IN ('applied', 'adopted')
ORDER BY 1

-- name: has_record
SELECT to_regclass('public._portaldb_migration') IS NOT NULL AS there

-- name: references
-- Which tables a table's rows need rows of.
SELECT DISTINCT
    n.nspname || '.' || c.relname AS child,
    pn.nspname || '.' || p.relname AS parent
FROM pg_constraint AS k
INNER JOIN pg_class AS c ON c.oid = k.conrelid
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
INNER JOIN pg_class AS p ON p.oid = k.confrelid
INNER JOIN pg_namespace AS pn ON pn.oid = p.relnamespace
WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid <> k.confrelid

-- name: triggers
-- Those of partitions too that the backup has not got: a TRUNCATE of their parent fires them.
SELECT
    n.nspname || '.' || c.relname AS on_table,
    quote_ident(t.tgname) AS name,
    CASE t.tgenabled
        WHEN 'D' THEN 'DISABLE TRIGGER'
        WHEN 'R' THEN 'ENABLE REPLICA TRIGGER'
        WHEN 'A' THEN 'ENABLE ALWAYS TRIGGER'
        ELSE 'ENABLE TRIGGER'
    END AS state
FROM pg_trigger AS t
INNER JOIN pg_class AS c ON c.oid = t.tgrelid
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid AND c.relispartition
LEFT JOIN pg_class AS p ON p.oid = i.inhparent
LEFT JOIN pg_namespace AS m ON m.oid = p.relnamespace
WHERE
    NOT t.tgisinternal AND c.relkind IN ('r', 'p')
    AND (
        n.nspname || '.' || c.relname = ANY (%(tables)s)
        OR m.nspname || '.' || p.relname = ANY (%(tables)s)
    )
ORDER BY 1, 2

-- name: guarded
-- The tables, partitions among them, that hold their owner to their policies too.
SELECT n.nspname || '.' || c.relname AS name
FROM pg_class AS c
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relforcerowsecurity AND c.relkind IN ('r', 'p') AND n.nspname || '.' || c.relname = ANY (%(tables)s)
ORDER BY 1

-- name: present
SELECT n.nspname || '.' || c.relname AS name
FROM pg_class AS c
INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname || '.' || c.relname = ANY (%(tables)s)

-- name: any_row
SELECT EXISTS (SELECT FROM {table}) AS there

-- name: close
-- While rows are loaded, nobody but the owner reaches what is in the schema.
REVOKE USAGE ON SCHEMA public FROM PUBLIC

-- name: open
-- As a new database has it; a backup's own grants and revocations follow.
GRANT USAGE ON SCHEMA public TO PUBLIC

-- name: may_create
GRANT CREATE ON SCHEMA public TO portal_api

-- name: may_create_no_more
REVOKE CREATE ON SCHEMA public FROM portal_api

-- name: become
SET ROLE {role}

-- name: has_sync
SELECT to_regprocedure('public.sync_cron_jobs()') IS NOT NULL AS there

-- name: sync
SELECT public.sync_cron_jobs() AS changed

-- name: analyze
ANALYZE

-- name: locale
SELECT d.datcollate AS name FROM pg_database AS d WHERE d.datname = 'template0'

-- name: drop
DROP DATABASE IF EXISTS {database} WITH (FORCE)
