-- WITH CHECK of a policy forgets a column that USING holds to.
-- level: error
-- fix: Leave WITH CHECK out, which makes USING count for the new row too; or add the column to it.

SELECT
    p.name AS object,
    'WITH CHECK does not read ' || a.attname AS detail
FROM policies AS p
INNER JOIN columns_read AS u ON u.policy = p.oid AND u.clause = 'USING'
INNER JOIN pg_attribute AS a ON a.attrelid = p.relation AND a.attnum = u.col
WHERE
    p.permissive
    AND EXISTS (SELECT FROM columns_read AS c WHERE c.policy = p.oid AND c.clause = 'WITH CHECK')
    AND NOT EXISTS (
        SELECT FROM columns_read AS c
        WHERE c.policy = p.oid AND c.clause = 'WITH CHECK' AND c.col = u.col
    )
