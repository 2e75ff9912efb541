-- A table has no primary key.
-- level: warning
-- fix: ALTER TABLE … ADD CONSTRAINT … PRIMARY KEY.

SELECT
    t.name AS object,
    'no primary key' AS detail
FROM tables AS t
WHERE
    t.parent IS NULL
    AND NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conrelid = t.oid AND c.contype = 'p')
