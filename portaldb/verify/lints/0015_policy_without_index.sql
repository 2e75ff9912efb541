-- No index can answer a policy: none begins with a column that it reads.
-- level: warning
-- fix: CREATE INDEX on the column by which the policy chooses rows.

SELECT
    p.name AS object,
    'no index begins with ' || string_agg(a.attname, ' or ' ORDER BY a.attname) AS detail
FROM policies AS p
INNER JOIN columns_read AS r ON r.policy = p.oid AND r.clause = 'USING'
INNER JOIN pg_attribute AS a ON a.attrelid = p.relation AND a.attnum = r.col
WHERE p.permissive AND p.of_applications
GROUP BY p.oid, p.name, p.relation
HAVING NOT EXISTS (
    SELECT FROM pg_index AS i
    WHERE
        i.indrelid = p.relation
        AND i.indisvalid
        AND i.indpred IS NULL
        AND i.indkey[0] = any(array_agg(a.attnum))
)
