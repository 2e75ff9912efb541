-- A role may write a foreign key to a table with row security, and no policy looks at what it points to.
-- level: error
-- fix: A restrictive policy WITH CHECK (EXISTS (SELECT … the row that is pointed to)); or take the privilege on the column back.

SELECT
    t.name || '.' || c.conname AS object,
    a.name || ' writes ' || k.attname || ', which points to ' || f.name AS detail
FROM pg_constraint AS c
INNER JOIN tables AS t ON t.oid = c.conrelid AND t.secured
INNER JOIN tables AS f ON f.oid = c.confrelid AND f.secured
INNER JOIN pg_attribute AS k ON k.attrelid = c.conrelid AND k.attnum = any(c.conkey)
CROSS JOIN applications AS a
WHERE
    c.contype = 'f'
    AND c.conparentid = 0
    AND has_column_privilege(a.oid, c.conrelid, k.attnum, 'INSERT, UPDATE')
    AND NOT EXISTS (
        SELECT
        FROM policies AS p
        INNER JOIN columns_read AS r ON r.policy = p.oid AND r.col = k.attnum
        WHERE
            p.relation = t.oid
            AND p.roles && ARRAY[0::oid, a.oid]
            AND p.command IN ('INSERT', 'UPDATE', 'ALL')
            AND (r.clause = 'WITH CHECK' OR p.check_tree IS NULL)
    )
