-- What the lints look at, and how their queries are put together: one statement asks them all.
--
-- In it are only objects that belong to no extension, in the schemas that the access file names, or
-- all but the system's where it names none. What no lint asks for is not read.

WITH RECURSIVE schemas AS (
    SELECT
        n.oid,
        n.nspname::text AS name,
        n.nspowner AS owner,
        n.nspacl AS acl
    FROM pg_namespace AS n
    WHERE
        n.nspname !~ '^pg_'
        AND n.nspname NOT IN ('information_schema', 'portaldb_verify')
        AND (%(schemas)s::text[] IS NULL OR n.nspname = any(%(schemas)s::text[]))
        AND NOT EXISTS (
            SELECT FROM pg_depend AS d
            WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e'
        )
),

relations AS (
    SELECT
        c.oid,
        s.oid AS schema,
        s.name || '.' || c.relname AS name,
        c.relkind::text AS kind,
        c.relowner AS owner,
        c.relpersistence AS persistence,
        c.relrowsecurity AS secured,
        c.relforcerowsecurity AS forced,
        c.reloptions AS options,
        c.relacl AS acl,
        p.inhparent AS parent
    FROM pg_class AS c
    INNER JOIN schemas AS s ON s.oid = c.relnamespace
    LEFT JOIN pg_inherits AS p ON p.inhrelid = c.oid AND p.inhseqno = 1
    WHERE
        c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        AND NOT EXISTS (
            SELECT FROM pg_depend AS d
            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
        )
),

tables AS (
    SELECT r.* FROM relations AS r WHERE r.kind IN ('r', 'p')
),

-- Whatever anybody but the owner was granted on a relation or on a column of it.
grants AS (
    SELECT
        r.oid AS relation,
        r.name,
        r.kind,
        NULL::text AS col,
        a.grantee AS role,
        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END AS grantee,
        a.privilege_type AS privilege,
        a.is_grantable AS grantable
    FROM relations AS r
    CROSS JOIN LATERAL aclexplode(r.acl) AS a
    WHERE a.grantee <> r.owner
    UNION ALL
    SELECT
        r.oid,
        r.name,
        r.kind,
        t.attname::text,
        a.grantee,
        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END,
        a.privilege_type,
        a.is_grantable
    FROM relations AS r
    INNER JOIN pg_attribute AS t ON t.attrelid = r.oid AND NOT t.attisdropped
    CROSS JOIN LATERAL aclexplode(t.attacl) AS a
    WHERE a.grantee <> r.owner
),

-- Roles that services act as: those of the access file but the owner and whoever is meant to bypass
-- row security.
applications AS (
    SELECT
        r.oid,
        r.rolname::text AS name
    FROM pg_roles AS r
    WHERE r.rolname = any(%(applications)s::text[])
),

-- Who may become whom, or has their rights. From PostgreSQL 16 a membership may allow neither.
memberships AS (
    SELECT
        m.member,
        m.roleid
    FROM pg_auth_members AS m
    WHERE
        coalesce((to_jsonb(m) ->> 'set_option')::boolean, true)
        OR coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true)
),

-- Applications, and the logins that were granted into them.
services AS (
    SELECT
        a.oid,
        a.name
    FROM applications AS a
    UNION
    SELECT
        r.oid,
        r.rolname::text
    FROM services AS s
    INNER JOIN memberships AS m ON m.roleid = s.oid
    INNER JOIN pg_roles AS r ON r.oid = m.member
    WHERE r.rolname <> all(%(roles)s::text[]) AND NOT r.rolsuper
),

-- Which roles a role reaches by its memberships, itself among them.
reach AS (
    SELECT
        r.oid AS role,
        r.oid AS reached
    FROM pg_roles AS r
    UNION
    SELECT
        e.role,
        m.roleid
    FROM reach AS e
    INNER JOIN memberships AS m ON m.member = e.reached
),

functions AS (
    SELECT
        p.oid,
        s.name || '.' || p.proname || '(' || coalesce(
            (
                SELECT string_agg(format_type(given.type, NULL), ',' ORDER BY given.place)
                FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY AS given (type, place)
            ), ''
        ) || ')' AS name,
        p.proowner AS owner,
        p.prosecdef AS definer,
        p.proleakproof AS leakproof,
        p.proacl AS acl,
        p.prosqlbody IS NOT NULL AS standard_body,
        coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) AS body,
        (
            SELECT split_part(c.setting, '=', 2)
            FROM unnest(p.proconfig) AS c (setting)
            WHERE c.setting LIKE 'search_path=%%'
        ) AS search_path
    FROM pg_proc AS p
    INNER JOIN schemas AS s ON s.oid = p.pronamespace
    WHERE NOT EXISTS (
        SELECT FROM pg_depend AS d
        WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    )
),

policies AS (
    SELECT
        p.oid,
        p.polname || ' on ' || t.name AS name,
        t.oid AS relation,
        t.name AS table_name,
        CASE p.polcmd
            WHEN 'r' THEN 'SELECT'
            WHEN 'a' THEN 'INSERT'
            WHEN 'w' THEN 'UPDATE'
            WHEN 'd' THEN 'DELETE'
            ELSE 'ALL'
        END AS command,
        p.polpermissive AS permissive,
        p.polroles AS roles,
        EXISTS (
            SELECT FROM applications AS a WHERE p.polroles && ARRAY[0::oid, a.oid]
        ) AS of_applications,
        p.polqual::text AS using_tree,
        p.polwithcheck::text AS check_tree
    FROM pg_policy AS p
    INNER JOIN tables AS t ON t.oid = p.polrelid
),

-- The conditions of the policies as PostgreSQL keeps them, a row for each node of the tree: where it
-- begins and ends, and in how many sub-selects it lies. Their text would have to be guessed at, and
-- pg_get_expr waits for whoever holds the table locked.
conditions AS (
    SELECT
        p.oid AS policy,
        'USING' AS clause,
        p.using_tree AS tree
    FROM policies AS p
    UNION ALL
    SELECT
        p.oid,
        'WITH CHECK',
        p.check_tree
    FROM policies AS p
),

braces AS (
    SELECT
        c.policy,
        c.clause,
        b.place,
        b.part[1] AS kind,
        b.part[2] AS fields,
        sum(CASE WHEN b.part[1] IS NULL THEN -1 ELSE 1 END)
            OVER (PARTITION BY c.policy, c.clause ORDER BY b.place)
        + CASE WHEN b.part[1] IS NULL THEN 1 ELSE 0 END AS depth
    FROM conditions AS c
    CROSS JOIN LATERAL regexp_matches(c.tree, '(?<!\\)(?:\{([A-Z]+)([^{}]*)|\})', 'g')
        WITH ORDINALITY AS b (part, place)
),

pairs AS (
    SELECT
        b.*,
        lead(b.place) OVER same_depth AS last,
        CASE
            WHEN b.kind = 'QUERY' THEN 1
            WHEN b.kind IS NULL AND lag(b.kind) OVER same_depth = 'QUERY' THEN -1
            ELSE 0
        END AS entered
    FROM braces AS b
    WINDOW same_depth AS (PARTITION BY b.policy, b.clause, b.depth ORDER BY b.place)
),

levels AS (
    SELECT
        p.*,
        sum(p.entered) OVER (PARTITION BY p.policy, p.clause ORDER BY p.place) AS level
    FROM pairs AS p
),

fields AS (
    SELECT
        v.policy,
        v.clause,
        v.place,
        v.last,
        v.depth,
        v.level,
        v.kind,
        v.fields,
        substring(v.fields FROM ':(?:funcid|opfuncid) (\d+)')::oid AS function,
        -- The number of a column of the policy's own row; of a sub-select's table it is NULL.
        CASE
            WHEN v.kind = 'VAR' AND substring(v.fields FROM ':varlevelsup (\d+)')::bigint = v.level
                THEN substring(v.fields FROM ':varattno (-?\d+)')::int2
        END AS col
    FROM levels AS v
    WHERE v.kind IS NOT NULL
),

nodes AS MATERIALIZED (
    SELECT
        f.*,
        -- Whether a column of the row is in it, at whatever depth.
        coalesce(
            f.last > min(f.place) FILTER (WHERE f.col IS NOT NULL) OVER (
                PARTITION BY f.policy, f.clause
                ORDER BY f.place
                ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
            ), false
        ) AS reads_row
    FROM fields AS f
),

columns_read AS (
    SELECT DISTINCT
        n.policy,
        n.clause,
        n.col
    FROM nodes AS n
    WHERE n.col IS NOT NULL
),

roots AS MATERIALIZED (
    SELECT
        n.policy,
        n.clause,
        n.reads_row OR n.kind = 'CONST' AND n.fields LIKE '%%:constvalue 1 [ 0 %%' AS holds
    FROM nodes AS n
    WHERE n.depth = 1
),

-- Conditions that say who and not which row; not those that are false.
open_conditions AS (
    SELECT
        p.oid AS policy,
        c.clause
    FROM policies AS p
    CROSS JOIN (VALUES ('USING'), ('WITH CHECK')) AS c (clause)
    LEFT JOIN roots AS r ON r.policy = p.oid AND r.clause = c.clause
    WHERE NOT coalesce(r.holds, false)
),

-- Which tables a view shows, through other views too.
shows AS (
    SELECT
        w.ev_class AS view,
        d.refobjid AS shown
    FROM pg_rewrite AS w
    INNER JOIN relations AS r ON r.oid = w.ev_class AND r.kind IN ('v', 'm')
    INNER JOIN pg_depend AS d
        ON
            d.classid = 'pg_rewrite'::regclass
            AND d.objid = w.oid
            AND d.refclassid = 'pg_class'::regclass
            AND d.refobjid <> w.ev_class
    UNION
    SELECT
        s.view,
        d.refobjid
    FROM shows AS s
    INNER JOIN pg_rewrite AS w ON w.ev_class = s.shown
    INNER JOIN pg_depend AS d
        ON
            d.classid = 'pg_rewrite'::regclass
            AND d.objid = w.oid
            AND d.refclassid = 'pg_class'::regclass
            AND d.refobjid <> w.ev_class
),

-- The constants that views give to current_setting, from their trees as PostgreSQL keeps them.
view_settings AS (
    SELECT
        r.oid AS view,
        r.name,
        found.part[2]::oid AS function,
        found.part[1] IS NOT NULL AS converted,
        said.setting
    FROM pg_rewrite AS w
    INNER JOIN relations AS r ON r.oid = w.ev_class AND r.kind IN ('v', 'm')
    CROSS JOIN LATERAL regexp_matches(
        w.ev_action::text,
        '(\{COERCEVIAIO :arg )?\{FUNCEXPR :funcid ('
        || (
            SELECT string_agg(f.oid::text, '|')
            FROM pg_proc AS f
            WHERE f.proname = 'current_setting' AND f.pronamespace = 'pg_catalog'::regnamespace
        )
        || ') [^{}]*:args \(\{CONST :consttype 25 [^{}]*\[ ([^]{}]*) \]', 'g'
    ) AS found (part)
    -- The length is in the first four of the bytes.
    CROSS JOIN LATERAL (
        SELECT string_agg(chr(b.byte::integer), '' ORDER BY b.place) AS setting
        FROM regexp_split_to_table(found.part[3], ' ') WITH ORDINALITY AS b (byte, place)
        WHERE b.place > 4
    ) AS said
)

SELECT
    found.stem,
    found.object,
    string_agg(DISTINCT found.detail, '; ' ORDER BY found.detail) AS detail
FROM (
{lints}
) AS found
GROUP BY found.stem, found.object
ORDER BY found.stem, found.object
