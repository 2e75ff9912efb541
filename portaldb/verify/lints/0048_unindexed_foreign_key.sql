-- No index begins with the columns of a foreign key.
-- level: warning
-- fix: CREATE INDEX on the columns of the key.

SELECT
    t.name || '.' || c.conname AS object,
    'no index begins with ' || (
        SELECT string_agg(a.attname, ', ' ORDER BY k.place)
        FROM unnest(c.conkey) WITH ORDINALITY AS k (attnum, place)
        INNER JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.attnum
    ) AS detail
FROM pg_constraint AS c
INNER JOIN tables AS t ON t.oid = c.conrelid
WHERE
    c.contype = 'f'
    AND c.conparentid = 0
    AND NOT EXISTS (
        SELECT FROM pg_index AS i
        WHERE
            i.indrelid = c.conrelid
            AND i.indisvalid
            AND (
                i.indpred IS NULL
                OR i.indpred::text ~ '^\{NULLTEST :arg \{VAR [^{}]*\} :nulltesttype 1 [^{}]*\}$'
            )
            AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey
    )
