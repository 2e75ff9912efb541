-- Somebody may hand on a privilege that they were granted.
-- level: error
-- fix: REVOKE GRANT OPTION FOR … FROM them.

SELECT
    g.name AS object,
    g.grantee || ' may grant ' || g.privilege || coalesce(' (' || g.col || ')', '') AS detail
FROM grants AS g
WHERE g.grantable
UNION ALL
SELECT
    f.name,
    pg_get_userbyid(a.grantee) || ' may grant ' || a.privilege_type
FROM functions AS f
CROSS JOIN LATERAL aclexplode(f.acl) AS a
WHERE a.grantee <> f.owner AND a.is_grantable
UNION ALL
SELECT
    'schema ' || s.name,
    pg_get_userbyid(a.grantee) || ' may grant ' || a.privilege_type
FROM schemas AS s
CROSS JOIN LATERAL aclexplode(s.acl) AS a
WHERE a.grantee <> s.owner AND a.is_grantable
