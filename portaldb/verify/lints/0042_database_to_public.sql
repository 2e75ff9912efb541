-- Everybody may connect to the database or make temporary objects, or a service may make more than it needs.
-- level: error
-- fix: REVOKE ALL ON DATABASE … FROM PUBLIC, and GRANT CONNECT to the roles that use it.

SELECT
    'database' AS object,
    coalesce(s.name, 'PUBLIC') || ' has ' || a.privilege_type AS detail
FROM pg_database AS d
CROSS JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a
LEFT JOIN services AS s ON s.oid = a.grantee
WHERE
    d.datname = current_database()
    AND (a.grantee = 0 OR s.oid IS NOT NULL AND a.privilege_type <> 'CONNECT')
