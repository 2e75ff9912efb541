-- A table has policies and its row security is off, so they do nothing.
-- level: error
-- fix: ALTER TABLE … ENABLE ROW LEVEL SECURITY and FORCE ROW LEVEL SECURITY.

SELECT
    t.name AS object,
    'the policy ' || p.name || ' does nothing' AS detail
FROM tables AS t
INNER JOIN policies AS p ON p.relation = t.oid
WHERE NOT t.secured
