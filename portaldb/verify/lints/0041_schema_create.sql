-- A service, or everybody, may make objects in a schema.
-- level: error
-- fix: REVOKE CREATE ON SCHEMA … FROM them.

SELECT
    'schema ' || s.name AS object,
    coalesce(v.name, 'PUBLIC') || ' has CREATE' AS detail
FROM schemas AS s
CROSS JOIN LATERAL aclexplode(s.acl) AS a
LEFT JOIN services AS v ON v.oid = a.grantee
WHERE a.privilege_type = 'CREATE' AND (a.grantee = 0 OR v.oid IS NOT NULL)
