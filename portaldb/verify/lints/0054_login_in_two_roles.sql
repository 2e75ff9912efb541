-- A login is in more than one of the access file's roles, and has the rows and rights of all of them.
-- level: error
-- fix: REVOKE all but one; a login of its own for each role.

SELECT
    r.rolname AS object,
    'in ' || string_agg(a.rolname, ' and ' ORDER BY a.rolname) AS detail
FROM pg_roles AS r
INNER JOIN reach AS e ON e.role = r.oid
INNER JOIN pg_roles AS a ON a.oid = e.reached AND a.rolname = any(%(roles)s::text[])
WHERE
    r.rolcanlogin
    AND NOT r.rolsuper
    AND r.rolname <> all(%(roles)s::text[])
    -- What one of its roles is in is that role's, and tried as that role.
    AND NOT EXISTS (
        SELECT FROM reach AS mine
        INNER JOIN pg_roles AS b ON b.oid = mine.reached AND b.rolname = any(%(roles)s::text[])
        INNER JOIN reach AS through ON through.role = b.oid AND through.reached = a.oid
        WHERE mine.role = r.oid AND b.oid <> a.oid
    )
GROUP BY r.rolname
HAVING count(*) > 1
