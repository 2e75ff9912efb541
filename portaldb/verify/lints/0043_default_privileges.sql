-- What will be made tomorrow is open from its first moment.
-- level: error
-- fix: ALTER DEFAULT PRIVILEGES FOR ROLE … REVOKE …; of functions, REVOKE EXECUTE … FROM PUBLIC without IN SCHEMA, which would do nothing.

SELECT
    'default privileges of ' || pg_get_userbyid(d.defaclrole) AS object,
    coalesce(s.name, 'PUBLIC') || ' will have ' || a.privilege_type || CASE d.defaclobjtype
        WHEN 'r' THEN ' on tables'
        WHEN 'S' THEN ' on sequences'
        WHEN 'f' THEN ' on functions'
        WHEN 'T' THEN ' on types'
        WHEN 'n' THEN ' on schemas'
        ELSE ''
    END AS detail
FROM pg_default_acl AS d
CROSS JOIN LATERAL aclexplode(d.defaclacl) AS a
LEFT JOIN services AS s ON s.oid = a.grantee
WHERE
    a.grantee <> d.defaclrole
    AND (a.grantee = 0 OR s.oid IS NOT NULL)
    AND (d.defaclnamespace = 0 OR d.defaclnamespace IN (SELECT n.oid FROM schemas AS n))
UNION ALL
SELECT
    'default privileges of ' || pg_get_userbyid(f.owner),
    'PUBLIC will have EXECUTE on functions'
FROM functions AS f
WHERE NOT EXISTS (
    SELECT FROM pg_default_acl AS d
    WHERE d.defaclrole = f.owner AND d.defaclnamespace = 0 AND d.defaclobjtype = 'f'
)
