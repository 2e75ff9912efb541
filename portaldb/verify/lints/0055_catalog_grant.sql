-- A service was granted something of the system's own: a catalog, a function of it, or a parameter.
-- level: error
-- fix: REVOKE it.

WITH given AS (
    SELECT
        'pg_class'::regclass AS class,
        c.oid,
        0 AS place,
        n.nspname || '.' || c.relname AS name,
        '' AS part,
        c.relacl AS acl,
        acldefault('r', c.relowner) AS built_in
    FROM pg_class AS c
    INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'pg_catalog' AND c.relacl IS NOT NULL
    UNION ALL
    SELECT
        'pg_class'::regclass,
        c.oid,
        t.attnum,
        n.nspname || '.' || c.relname,
        ' (' || t.attname || ')',
        t.attacl,
        NULL
    FROM pg_attribute AS t
    INNER JOIN pg_class AS c ON c.oid = t.attrelid
    INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = 'pg_catalog' AND t.attacl IS NOT NULL
    UNION ALL
    SELECT
        'pg_proc'::regclass,
        p.oid,
        0,
        n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
        '',
        p.proacl,
        acldefault('f', p.proowner)
    FROM pg_proc AS p
    INNER JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE n.nspname = 'pg_catalog' AND p.proacl IS NOT NULL
    UNION ALL
    SELECT
        'pg_parameter_acl'::regclass,
        p.oid,
        0,
        'parameter ' || p.parname,
        '',
        p.paracl,
        NULL
    FROM pg_parameter_acl AS p
)

SELECT
    g.name || ' for ' || coalesce(r.rolname, 'PUBLIC') AS object,
    'it has ' || a.privilege_type || g.part AS detail
FROM given AS g
CROSS JOIN LATERAL aclexplode(g.acl) AS a
LEFT JOIN pg_roles AS r ON r.oid = a.grantee
-- What initdb gave, or an extension as it was made.
LEFT JOIN pg_init_privs AS i
    ON i.classoid = g.class AND i.objoid = g.oid AND i.objsubid = g.place
WHERE
    (
        a.grantee = 0
        OR a.grantee IN (
            SELECT e.reached
            FROM services AS s
            INNER JOIN reach AS e ON e.role = s.oid
        )
    )
    AND NOT coalesce(r.rolsuper, false)
    AND NOT EXISTS (
        SELECT FROM aclexplode(coalesce(i.initprivs, g.built_in)) AS b
        WHERE b.grantee = a.grantee AND b.privilege_type = a.privilege_type
    )
