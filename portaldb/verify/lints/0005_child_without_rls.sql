-- A partition of a table with row security has none of its own.
-- level: error
-- fix: ALTER TABLE the partition ENABLE ROW LEVEL SECURITY, without a policy.

SELECT
    t.name AS object,
    p.name || ' has row security, and a query of this one does not go through it' AS detail
FROM tables AS t
INNER JOIN tables AS p ON p.oid = t.parent
WHERE p.secured AND NOT t.secured
