-- A role of ours is in one of PostgreSQL's predefined roles, which reach past grants.
-- level: error
-- fix: REVOKE it; grant what is needed by name.

SELECT
    w.name || ' in ' || p.rolname AS object,
    'a member' || CASE WHEN EXISTS (
        SELECT FROM memberships AS m WHERE m.member = w.oid AND m.roleid = p.oid
    ) THEN '' ELSE ' by another role' END AS detail
FROM (
    SELECT
        r.oid,
        r.rolname::text AS name
    FROM pg_roles AS r
    WHERE r.rolname = any(%(roles)s::text[]) AND NOT r.rolsuper
    UNION
    SELECT
        s.oid,
        s.name
    FROM services AS s
) AS w
INNER JOIN reach AS e ON e.role = w.oid
INNER JOIN pg_roles AS p ON p.oid = e.reached
WHERE p.rolname ~ '^pg_' AND p.rolname <> 'pg_database_owner'
