-- A role may insert or update every column of a table with row security, also the one that says whose row it is, and those that will be added.
-- level: error
-- fix: REVOKE it, and GRANT INSERT (…), UPDATE (…) on the columns that the role writes.

SELECT
    t.name AS object,
    g.grantee || ' has ' || g.privilege || ' on the whole table' AS detail
FROM grants AS g
INNER JOIN tables AS t ON t.oid = g.relation AND t.secured AND t.parent IS NULL
WHERE g.col IS NULL AND g.privilege IN ('INSERT', 'UPDATE')
