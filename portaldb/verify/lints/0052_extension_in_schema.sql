-- An extension lies among our tables, and everybody may execute its functions.
-- level: warning
-- fix: ALTER EXTENSION … SET SCHEMA one of its own; or accept it with the reason.

SELECT
    'extension ' || e.extname AS object,
    'in ' || s.name AS detail
FROM pg_extension AS e
INNER JOIN schemas AS s ON s.oid = e.extnamespace
WHERE e.extrelocatable AND EXISTS (SELECT FROM tables AS t WHERE t.schema = s.oid)
