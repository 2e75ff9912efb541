-- Somebody who is none of the access file's roles was granted something of ours.
-- level: error
-- fix: REVOKE it, and GRANT one of the roles instead; or name the role in the access file.

SELECT
    g.name || ' for ' || g.grantee AS object,
    'it has ' || g.privilege || coalesce(' (' || g.col || ')', '') AS detail
FROM (
    SELECT
        r.name,
        r.col,
        r.role,
        r.grantee,
        r.privilege
    FROM grants AS r
    UNION ALL
    SELECT
        f.name,
        NULL,
        a.grantee,
        pg_get_userbyid(a.grantee)::text,
        a.privilege_type
    FROM functions AS f
    CROSS JOIN LATERAL aclexplode(f.acl) AS a
    WHERE a.grantee <> f.owner
) AS g
INNER JOIN pg_roles AS r ON r.oid = g.role
WHERE NOT r.rolsuper AND r.rolname <> all(%(roles)s::text[])
