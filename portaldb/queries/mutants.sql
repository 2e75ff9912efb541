-- What `portaldb verify --mutate` reads of the catalog, to write every single-step weakening from it.

-- name: rights
-- Every privilege that a role, or PUBLIC, has not: on a relation where `column` is NULL, else on a column.
WITH grantee (name) AS (
    SELECT unnest(%(roles)s::text[])
    UNION ALL
    SELECT 'public'
),

wanted (oid, kind, privilege) AS (
    SELECT
        c.oid,
        c.relkind,
        unnest(
            CASE
                WHEN c.relkind = 'S' THEN ARRAY['SELECT', 'USAGE', 'UPDATE']
                ELSE ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']
                    || CASE WHEN current_setting('server_version_num')::int >= 170000 THEN ARRAY['MAINTAIN'] ELSE '{}' END
            END
        )
    FROM pg_class AS c
    WHERE c.oid = any(%(oids)s::oid[])
)

SELECT
    w.oid::int8 AS oid,
    NULL AS column,
    w.privilege,
    g.name AS grantee
FROM wanted AS w
CROSS JOIN grantee AS g
WHERE NOT CASE
    WHEN w.kind = 'S' THEN has_sequence_privilege(g.name, w.oid, w.privilege)
    ELSE has_table_privilege(g.name, w.oid, w.privilege)
END
UNION ALL
SELECT
    w.oid::int8,
    a.attname::text,
    w.privilege,
    g.name
FROM wanted AS w
INNER JOIN pg_attribute AS a ON a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped
CROSS JOIN grantee AS g
WHERE
    w.kind <> 'S'
    AND w.privilege IN ('SELECT', 'INSERT', 'UPDATE', 'REFERENCES')
    AND NOT has_column_privilege(g.name, w.oid, a.attnum, w.privilege)
ORDER BY 1, 2 NULLS FIRST, 3, 4

-- name: tables
SELECT
    c.oid::int8 AS oid,
    c.relrowsecurity AS row_security,
    c.relforcerowsecurity AS forced
FROM pg_class AS c
WHERE c.oid = any(%(oids)s::oid[]) AND c.relkind IN ('r', 'p')

-- name: functions
SELECT
    p.oid::int8 AS oid,
    pg_get_functiondef(p.oid) AS definition,
    coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) AS body,
    p.prorettype = 'trigger'::regtype AS of_trigger,
    EXISTS (SELECT FROM unnest(p.proconfig) AS s (setting) WHERE s.setting LIKE 'search_path=%%') AS sets_path,
    ARRAY(
        SELECT g.name
        FROM unnest(%(roles)s::text[] || 'public'::text) WITH ORDINALITY AS g (name, place)
        WHERE NOT has_function_privilege(g.name, p.oid, 'EXECUTE')
        ORDER BY g.place
    ) AS lacking
FROM pg_proc AS p
WHERE p.oid = any(%(oids)s::oid[]) AND p.prokind IN ('f', 'p')

-- name: views
SELECT
    c.oid::int8 AS oid,
    pg_get_viewdef(c.oid) AS body
FROM pg_class AS c
WHERE c.oid = any(%(oids)s::oid[]) AND c.relkind = 'v'

-- name: memberships
-- Which role could be granted to which of ours, predefined ones too; a circle of memberships is refused.
SELECT
    granted.rolname::text AS granted,
    member.rolname::text AS member
FROM pg_roles AS granted
CROSS JOIN pg_roles AS member
WHERE
    member.rolname = any(%(roles)s)
    AND (granted.rolname = any(%(roles)s) OR (granted.rolname LIKE 'pg\_%%' AND granted.rolname <> 'pg_database_owner'))
    AND granted.oid <> member.oid
    AND NOT pg_has_role(member.oid, granted.oid, 'MEMBER')
    AND NOT pg_has_role(granted.oid, member.oid, 'MEMBER')
ORDER BY 1, 2

-- name: places
-- Where a role, or PUBLIC, cannot make objects: a schema, or the database.
SELECT
    'SCHEMA' AS kind,
    n.nspname::text AS name,
    'CREATE' AS privilege,
    g.name AS grantee
FROM pg_namespace AS n
CROSS JOIN unnest(%(roles)s::text[] || 'public'::text) AS g (name)
WHERE
    n.nspname NOT LIKE 'pg\_%%'
    AND n.nspname NOT IN ('information_schema', 'portaldb_verify')
    AND (%(schemas)s::text[] IS NULL OR n.nspname = any(%(schemas)s::text[]))
    AND NOT has_schema_privilege(g.name, n.oid, 'CREATE')
UNION ALL
SELECT
    'DATABASE',
    current_database()::text,
    p.privilege,
    g.name
FROM unnest(ARRAY['TEMPORARY', 'CREATE']) AS p (privilege)
CROSS JOIN unnest(%(roles)s::text[] || 'public'::text) AS g (name)
WHERE NOT has_database_privilege(g.name, current_database(), p.privilege)
ORDER BY 1, 2, 3, 4

-- name: patience
SET LOCAL lock_timeout = '10s'

-- name: impatience
SET LOCAL statement_timeout = '10s'

-- name: bodies
SELECT p.proname AS name, p.prosrc || coalesce(pg_get_function_sqlbody(p.oid), '') AS body
FROM pg_proc AS p
INNER JOIN pg_language AS l ON p.prolang = l.oid
WHERE l.lanname IN ('plpgsql', 'sql') AND p.pronamespace <> 'pg_catalog'::regnamespace
