-- A policy shows every row of a table to an application's role.
-- level: warning
-- fix: Give USING a condition on a column of the row; or accept it with the reason why the role sees every row.

SELECT
    p.name AS object,
    'USING reads no column of the row' AS detail
FROM policies AS p
INNER JOIN open_conditions AS c ON c.policy = p.oid AND c.clause = 'USING'
WHERE p.permissive AND p.of_applications AND p.command = 'SELECT'
