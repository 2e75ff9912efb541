-- Another server's data can be reached from here, where no policy of ours holds.
-- level: warning
-- fix: REVOKE the foreign table and USAGE on its server, DROP USER MAPPING for PUBLIC and for services; serve it through a function.

SELECT
    r.name AS object,
    g.grantee || ' has ' || g.privilege AS detail
FROM relations AS r
INNER JOIN grants AS g ON g.relation = r.oid
WHERE r.kind = 'f'
UNION ALL
SELECT
    'server ' || f.srvname,
    'it has a user mapping for ' || coalesce(s.name, 'PUBLIC')
FROM pg_foreign_server AS f
INNER JOIN pg_user_mappings AS m ON m.srvid = f.oid
LEFT JOIN services AS s ON s.oid = m.umuser
WHERE m.umuser = 0 OR s.oid IS NOT NULL
UNION ALL
SELECT
    'server ' || f.srvname,
    coalesce(s.name, 'PUBLIC') || ' has USAGE'
FROM pg_foreign_server AS f
CROSS JOIN LATERAL aclexplode(f.srvacl) AS a
LEFT JOIN services AS s ON s.oid = a.grantee
WHERE a.grantee = 0 OR s.oid IS NOT NULL
