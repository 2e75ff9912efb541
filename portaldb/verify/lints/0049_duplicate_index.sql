-- An index does nothing that another index of the table does not do.
-- level: warning
-- fix: DROP INDEX CONCURRENTLY; or accept it with what it costs.

WITH keys AS (
    SELECT
        i.indexrelid,
        i.indrelid,
        i.indisunique,
        i.indisprimary,
        x.relname,
        x.relam,
        t.name,
        w.predicate,
        k.parts,
        -- What the predicate fixes, the same in every entry, orders nothing.
        CASE WHEN k.free = '{}' THEN k.parts ELSE k.free END AS free
    FROM pg_index AS i
    INNER JOIN pg_class AS x ON x.oid = i.indexrelid
    INNER JOIN tables AS t ON t.oid = i.indrelid AND t.parent IS NULL
    -- As PostgreSQL keeps them: to write them as SQL it waits for whoever holds the table locked.
    CROSS JOIN LATERAL (
        SELECT
            regexp_replace(i.indpred::text, ':location -?\d+', '', 'g'),
            regexp_replace(i.indexprs::text, ':location -?\d+', '', 'g')
    ) AS w (predicate, expressions)
    LEFT JOIN pg_operator AS o ON o.oid = substring(w.predicate FROM '^\{OPEXPR :opno (\d+)')::oid
    CROSS JOIN LATERAL (
        SELECT
            array_agg(e.part ORDER BY e.n) AS parts,
            coalesce(array_agg(e.part ORDER BY e.n) FILTER (WHERE NOT e.fixed), '{}') AS free
        FROM (
            SELECT
                n.n,
                concat_ws(
                    ' ', i.indkey[n.n], CASE i.indkey[n.n] WHEN 0 THEN w.expressions END,
                    i.indclass[n.n], i.indcollation[n.n], i.indoption[n.n]
                ) AS part,
                coalesce(o.oprname, '=') = '='
                AND coalesce(
                    w.predicate ~ (
                        '^(\{OPEXPR [^{}]*:args \((\{RELABELTYPE :arg )?)?\{VAR [^{}]*:varattno '
                        || i.indkey[n.n] || ' [^{}]*\}([^{}]*\})?( \{CONST [^{}]*\}\)[^{}]*\})?$'
                    ), false
                ) AS fixed
            FROM generate_series(0, i.indnkeyatts - 1) AS n (n)
        ) AS e
    ) AS k
    WHERE i.indisvalid AND i.indnatts = i.indnkeyatts
)

SELECT
    a.name || '.' || a.relname AS object,
    'beside ' || b.relname AS detail
FROM keys AS a
INNER JOIN keys AS b
    ON b.indrelid = a.indrelid AND b.relam = a.relam AND b.indexrelid <> a.indexrelid
INNER JOIN pg_am AS m ON m.oid = a.relam
WHERE
    (b.predicate IS NULL OR b.predicate = a.predicate)
    -- What a unique index holds, only one that is unique in the same way holds as well.
    AND (
        NOT a.indisunique
        OR b.indisunique AND b.predicate IS NOT DISTINCT FROM a.predicate AND a.parts = b.parts
    )
    AND CASE
        WHEN a.free = b.free
            -- Two of a kind: the primary key stays, else the shorter, else the first by name. Which was made first is
            -- no matter: a restore makes them in an order of its own.
            THEN
                a.indisunique <> b.indisunique
                OR a.predicate IS NOT NULL AND b.predicate IS NULL
                OR (NOT a.indisprimary, cardinality(a.parts), a.relname)
                > (NOT b.indisprimary, cardinality(b.parts), b.relname)
        ELSE m.amname = 'btree' AND a.free = b.free[1:cardinality(a.free)]
    END
