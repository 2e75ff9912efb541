-- An arm of an OR in a policy does not look at the row, so where it is true every row is let through.
-- level: error
-- fix: Write the arm as a condition on a column, as with an admin's range: id BETWEEN (SELECT lowest()) AND highest, where lowest() is NULL for everybody else.

SELECT
    p.name AS object,
    'an arm of OR in ' || arm.clause || ' reads no column of the row' AS detail
FROM policies AS p
INNER JOIN nodes AS n
    ON
        n.policy = p.oid
        AND n.kind = 'BOOLEXPR'
        AND n.fields LIKE '%%:boolop or %%'
        AND n.level = 0
INNER JOIN nodes AS arm
    ON
        arm.policy = n.policy
        AND arm.clause = n.clause
        AND arm.depth = n.depth + 1
        AND arm.place BETWEEN n.place AND n.last
WHERE p.permissive AND p.of_applications AND NOT arm.reads_row
