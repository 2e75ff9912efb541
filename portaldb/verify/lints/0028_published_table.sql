-- A publication sends the rows of a table with row security to its subscribers, every tenant's.
-- level: warning
-- fix: ALTER PUBLICATION … DROP TABLE; or accept it with the reason why the subscriber may hold every tenant's rows.

SELECT
    t.name AS object,
    'publication ' || p.pubname AS detail
FROM pg_publication_tables AS p
INNER JOIN tables AS t ON t.oid = to_regclass(format('%%I.%%I', p.schemaname, p.tablename))
WHERE t.secured
