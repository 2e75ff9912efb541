-- Row security of a table does not hold for its owner.
-- level: error
-- fix: ALTER TABLE … FORCE ROW LEVEL SECURITY, and a policy that says what the owner may.

SELECT
    t.name AS object,
    'row security is enabled and not forced' AS detail
FROM tables AS t
WHERE t.secured AND NOT t.forced AND t.parent IS NULL
