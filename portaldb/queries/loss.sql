-- How much a rollback would take away.

-- name: rows
SELECT count(*) AS rows FROM (SELECT FROM {relation} LIMIT 10001) AS counted

-- name: there
SELECT to_regclass(%(name)s) IS NOT NULL AS there, (SELECT c.reltuples FROM pg_class AS c WHERE c.oid = to_regclass(%(name)s)) AS about
