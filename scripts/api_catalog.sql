-- What the roles of services reach, read from the catalog for docs/api.md and docs/api-contract.json.
--
-- Objects of extensions are left out. Every query takes the roles as %(roles)s.

-- name: functions
SELECT
    p.oid::int8 AS oid,
    p.proname AS name,
    l.lanname AS language,
    p.prosecdef AS definer,
    pg_get_userbyid(p.proowner) AS owner,
    p.proretset AS is_set,
    p.prokind = 'f' AND p.prorettype <> 'trigger'::regtype AS is_called,
    format_type(p.prorettype, NULL) AS result,
    coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) AS source,
    coalesce(obj_description(p.oid, 'pg_proc'), '') AS comment,
    ARRAY(
        SELECT r.name
        FROM unnest(%(roles)s::text[]) WITH ORDINALITY AS r (name, place)
        WHERE has_function_privilege(r.name, p.oid, 'EXECUTE')
        ORDER BY r.place
    ) AS roles,
    coalesce((
        SELECT jsonb_agg(
            jsonb_build_object(
                'name', coalesce(p.proargnames[a.place], ''),
                'mode', coalesce(p.proargmodes[a.place], 'i'),
                'type', format_type(a.type, NULL),
                'default', pg_get_function_arg_default(p.oid, a.place::int)
            )
            ORDER BY a.place
        )
        FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) WITH ORDINALITY AS a (type, place)
    ), '[]') AS arguments,
    coalesce((
        SELECT jsonb_agg(
            jsonb_build_object('name', a.attname, 'type', format_type(a.atttypid, a.atttypmod)) ORDER BY a.attnum
        )
        FROM pg_type AS t
        INNER JOIN pg_attribute AS a ON t.typrelid = a.attrelid
        WHERE t.oid = p.prorettype AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped
    ), '[]') AS row_columns
FROM pg_proc AS p
INNER JOIN pg_language AS l ON p.prolang = l.oid
WHERE
    p.pronamespace = 'public'::regnamespace
    AND NOT EXISTS (
        SELECT FROM pg_depend AS d
        WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    )
ORDER BY p.proname, p.pronargs, p.oid

-- name: relations
SELECT
    c.oid::int8 AS oid,
    c.relname AS name,
    c.relkind IN ('v', 'm') AS is_view,
    coalesce(obj_description(c.oid, 'pg_class'), '') AS comment,
    coalesce('security_invoker=true' = ANY (c.reloptions), false) AS as_caller,
    pg_get_userbyid(c.relowner) AS owner,
    ARRAY(
        SELECT r.name
        FROM unnest(%(roles)s::text[]) WITH ORDINALITY AS r (name, place)
        WHERE has_table_privilege(r.name, c.oid, 'DELETE')
        ORDER BY r.place
    ) AS deleters
FROM pg_class AS c
WHERE
    c.relnamespace = 'public'::regnamespace
    AND c.relkind IN ('r', 'p', 'v', 'm')
    AND NOT c.relispartition
    -- The record of migrations is the engine's.
    AND c.relname !~ '^(_portaldb|_?yoyo)_'
    AND NOT EXISTS (
        SELECT FROM pg_depend AS d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
    )
ORDER BY c.relname

-- name: columns
SELECT
    a.attrelid::int8 AS relation,
    a.attname AS name,
    format_type(a.atttypid, a.atttypmod) AS type,
    NOT a.attnotnull AS nullable,
    pg_get_expr(d.adbin, d.adrelid) AS default,
    coalesce(col_description(a.attrelid, a.attnum), '') AS comment,
    (
        SELECT jsonb_object_agg(
            r.name,
            (
                SELECT coalesce(jsonb_agg(v.command ORDER BY v.place), '[]')
                FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE']) WITH ORDINALITY AS v (command, place)
                WHERE has_column_privilege(r.name, a.attrelid, a.attnum, v.command)
            )
        )
        FROM unnest(%(roles)s::text[]) AS r (name)
    ) AS commands
FROM pg_attribute AS a
INNER JOIN pg_class AS c ON a.attrelid = c.oid
LEFT JOIN pg_attrdef AS d ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE
    c.relnamespace = 'public'::regnamespace
    AND c.relkind IN ('r', 'p', 'v', 'm')
    AND a.attnum > 0
    AND NOT a.attisdropped
ORDER BY a.attrelid, a.attnum

-- name: constraints
SELECT
    k.conrelid::int8 AS relation,
    k.conname AS name,
    k.contype::text AS kind,
    pg_get_constraintdef(k.oid) AS definition,
    coalesce(f.relname, '') AS target,
    ARRAY(
        SELECT a.attname
        FROM unnest(k.conkey) WITH ORDINALITY AS n (number, place)
        INNER JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = n.number
        ORDER BY n.place
    ) AS columns
FROM pg_constraint AS k
LEFT JOIN pg_class AS f ON k.confrelid = f.oid
WHERE k.connamespace = 'public'::regnamespace AND k.conrelid <> 0 AND k.contype IN ('p', 'u', 'f', 'c')
ORDER BY k.conrelid, position(k.contype::text IN 'pufc'), k.conname

-- name: triggers
SELECT
    g.tgrelid::int8 AS relation,
    g.tgname AS name,
    g.tgfoid::int8 AS function,
    array_remove(string_to_array(encode(g.tgargs, 'escape'), '\000'), '') AS arguments,
    coalesce(obj_description(g.oid, 'pg_trigger'), '') AS comment
FROM pg_trigger AS g
INNER JOIN pg_class AS c ON g.tgrelid = c.oid
WHERE c.relnamespace = 'public'::regnamespace AND NOT g.tgisinternal AND NOT c.relispartition
ORDER BY c.relname, g.tgname
