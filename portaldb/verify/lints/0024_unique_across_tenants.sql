-- A unique index spans tenants, so a tenant who may write its columns learns which values others have.
-- level: warning
-- fix: Add the tenant's column to the index; or accept it with the reason why the values tell nothing.

SELECT
    t.name || '.' || x.relname || ' for ' || a.name AS object,
    'it may write ' || string_agg(DISTINCT k.attname, ', ') AS detail
FROM pg_index AS i
INNER JOIN tables AS t ON t.oid = i.indrelid AND t.secured AND t.parent IS NULL
INNER JOIN pg_class AS x ON x.oid = i.indexrelid
INNER JOIN pg_attribute AS k ON k.attrelid = i.indrelid AND k.attnum = any(i.indkey::int2[])
CROSS JOIN applications AS a
WHERE
    i.indisunique
    AND NOT i.indisprimary
    AND has_column_privilege(a.oid, t.oid, k.attnum, 'INSERT, UPDATE')
    -- A column that a policy compares with something of the session is what tells tenants apart.
    AND NOT EXISTS (
        SELECT
        FROM policies AS p
        INNER JOIN nodes AS c ON c.policy = p.oid AND c.col = any(i.indkey::int2[])
        INNER JOIN nodes AS o
            ON
                o.policy = c.policy
                AND o.clause = c.clause
                AND o.kind IN ('OPEXPR', 'SCALARARRAYOPEXPR', 'DISTINCTEXPR')
                AND c.place BETWEEN o.place AND o.last
        INNER JOIN nodes AS s
            ON
                s.policy = o.policy
                AND s.clause = o.clause
                AND s.kind IN ('SUBLINK', 'FUNCEXPR')
                AND s.place BETWEEN o.place AND o.last
        WHERE p.relation = t.oid AND p.of_applications
    )
GROUP BY t.name, x.relname, a.name
