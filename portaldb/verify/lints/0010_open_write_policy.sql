-- A policy lets an application's role write rows without looking at them.
-- level: error
-- fix: Give USING and WITH CHECK a condition on a column of the row; or accept it with the reason why every row is meant.

SELECT
    p.name AS object,
    p.command || ': ' || c.clause || ' reads no column of the row' AS detail
FROM policies AS p
INNER JOIN open_conditions AS c ON c.policy = p.oid
WHERE
    p.permissive
    AND p.of_applications
    AND p.command <> 'SELECT'
    -- INSERT has no USING, DELETE no WITH CHECK; where UPDATE and ALL have none, USING is asked of
    -- the new row too.
    AND CASE c.clause
        WHEN 'USING' THEN p.command <> 'INSERT'
        ELSE p.command = 'INSERT' OR p.check_tree IS NOT NULL
    END
