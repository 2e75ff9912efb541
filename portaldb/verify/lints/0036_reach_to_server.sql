-- Code in the database reaches the server's files or its shell.
-- level: error
-- fix: DROP the language; REVOKE EXECUTE on the file functions from services and PUBLIC.

SELECT
    'language ' || l.lanname AS object,
    'untrusted' AS detail
FROM pg_language AS l
WHERE NOT l.lanpltrusted AND l.lanname NOT IN ('internal', 'c')
UNION ALL
SELECT
    p.oid::regprocedure::text,
    coalesce(s.name, 'PUBLIC') || ' has EXECUTE'
FROM pg_proc AS p
CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
LEFT JOIN services AS s ON s.oid = a.grantee
WHERE
    p.pronamespace = 'pg_catalog'::regnamespace
    AND p.proname ~ '^(lo_import|lo_export|pg_read_(binary_)?file|pg_ls_.*dir|pg_stat_file)$'
    AND (a.grantee = 0 OR s.oid IS NOT NULL)
