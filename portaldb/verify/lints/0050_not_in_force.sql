-- Something is declared and not in force: an index is invalid, a constraint not validated, a trigger disabled.
-- level: error
-- fix: REINDEX INDEX CONCURRENTLY, or drop it and build it again; ALTER TABLE … VALIDATE CONSTRAINT; ALTER TABLE … ENABLE TRIGGER.

SELECT
    'index ' || x.relname || ' on ' || t.name AS object,
    'invalid' AS detail
FROM pg_index AS i
INNER JOIN pg_class AS x ON x.oid = i.indexrelid
INNER JOIN tables AS t ON t.oid = i.indrelid
WHERE NOT (i.indisvalid AND i.indisready)
UNION ALL
SELECT
    'constraint ' || c.conname || ' on ' || t.name,
    'not validated'
FROM pg_constraint AS c
INNER JOIN tables AS t ON t.oid = c.conrelid
WHERE NOT c.convalidated
UNION ALL
SELECT
    'trigger ' || g.tgname || ' on ' || r.name,
    CASE g.tgenabled WHEN 'D' THEN 'disabled' ELSE 'for replicas alone' END
FROM pg_trigger AS g
INNER JOIN relations AS r ON r.oid = g.tgrelid
WHERE g.tgenabled IN ('D', 'R')
