-- How much a rollback would take away.

-- name: wait_briefly
SET LOCAL lock_timeout = '2s'

-- name: rows
SELECT count(*) AS rows FROM (SELECT FROM {relation} LIMIT 10001) AS counted

-- name: there
SELECT
    to_regclass(%(name)s) IS NOT NULL AS there,
    (SELECT greatest(c.reltuples, 0) FROM pg_class AS c WHERE c.oid = to_regclass(%(name)s)) AS about
