-- A table has row security and no permissive policy, so nobody reaches a row of it.
-- level: warning
-- fix: CREATE POLICY for whoever is meant to reach rows, the owner too; or take the grants back.

SELECT
    t.name AS object,
    'no permissive policy' AS detail
FROM tables AS t
WHERE
    t.secured
    AND t.parent IS NULL
    AND NOT EXISTS (SELECT FROM policies AS p WHERE p.relation = t.oid AND p.permissive)
