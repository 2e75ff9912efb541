-- A policy compares a column with the database's role, which is the same for every user of a service.
-- level: error
-- fix: Compare with the context's user.

SELECT
    p.name AS object,
    'a column is compared with ' || CASE substring(r.fields FROM ':op (\d+)')
        WHEN '12' THEN 'session_user'
        ELSE 'current_user'
    END AS detail
FROM policies AS p
INNER JOIN nodes AS n
    ON n.policy = p.oid AND n.kind IN ('OPEXPR', 'DISTINCTEXPR', 'SCALARARRAYOPEXPR')
INNER JOIN nodes AS r
    ON
        r.policy = n.policy
        AND r.clause = n.clause
        AND r.place BETWEEN n.place AND n.last
        AND r.kind = 'SQLVALUEFUNCTION'
        AND substring(r.fields FROM ':op (\d+)') IN ('9', '10', '11', '12')
WHERE n.reads_row
