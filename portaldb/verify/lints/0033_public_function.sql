-- Everybody may execute a function.
-- level: error
-- fix: REVOKE EXECUTE ON FUNCTION … FROM PUBLIC, and GRANT it to the roles that call it.

SELECT
    f.name AS object,
    CASE
        WHEN f.acl IS NULL THEN 'PUBLIC has EXECUTE, as every new function gives it'
        ELSE 'PUBLIC was granted EXECUTE'
    END AS detail
FROM functions AS f
CROSS JOIN LATERAL aclexplode(coalesce(f.acl, acldefault('f', f.owner))) AS a
WHERE a.grantee = 0
