-- Somebody was granted a privilege on a partition of a table with row security.
-- level: error
-- fix: REVOKE it; grants on the parent are enough.

SELECT
    t.name AS object,
    g.grantee || ' has ' || g.privilege || coalesce(' (' || g.col || ')', '') AS detail
FROM tables AS t
INNER JOIN tables AS p ON p.oid = t.parent
INNER JOIN grants AS g ON g.relation = t.oid
WHERE p.secured
