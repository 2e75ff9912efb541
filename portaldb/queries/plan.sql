-- How large the tables are that pending statements touch; from the catalog alone, so that no right on them is needed.

-- name: sizes
SELECT
    wanted.name,
    sum(pg_relation_size(c.oid))::bigint AS bytes,
    CASE WHEN bool_or(c.reltuples < 0 AND pg_relation_size(c.oid) > 0) THEN NULL
        ELSE sum(greatest(c.reltuples, 0))::bigint
    END AS rows
FROM unnest(%(names)s::text[]) AS wanted (name)
CROSS JOIN LATERAL pg_partition_tree(to_regclass(wanted.name)) AS part
INNER JOIN pg_class AS c ON c.oid = part.relid
WHERE to_regclass(wanted.name) IS NOT NULL
GROUP BY wanted.name
UNION ALL
-- pg_partition_tree() of a plain table has no row.
SELECT
    wanted.name,
    pg_relation_size(c.oid)::bigint,
    CASE WHEN c.reltuples < 0 AND pg_relation_size(c.oid) > 0 THEN NULL ELSE greatest(c.reltuples, 0)::bigint END
FROM unnest(%(names)s::text[]) AS wanted (name)
INNER JOIN pg_class AS c ON c.oid = to_regclass(wanted.name)
WHERE NOT EXISTS (SELECT FROM pg_partition_tree(c.oid))
