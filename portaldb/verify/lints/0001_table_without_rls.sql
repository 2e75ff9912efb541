-- A table that others than its owner reach has no row security.
-- level: error
-- fix: ALTER TABLE … ENABLE ROW LEVEL SECURITY and FORCE ROW LEVEL SECURITY, then policies; or accept it with the reason why it holds no tenant's rows.

SELECT
    t.name || ' for ' || g.grantee AS object,
    'it has ' || g.privilege || coalesce(' (' || g.col || ')', '') AS detail
FROM tables AS t
INNER JOIN grants AS g ON g.relation = t.oid
WHERE NOT t.secured AND t.parent IS NULL
