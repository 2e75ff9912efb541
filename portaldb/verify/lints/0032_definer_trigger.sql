-- A trigger runs a SECURITY DEFINER function, so whoever writes the table does what its owner may.
-- level: error
-- fix: ALTER FUNCTION … SECURITY INVOKER; or accept it with the reason what it does and for whom.

SELECT
    'trigger ' || g.tgname || ' on ' || r.name AS object,
    'it runs ' || f.name || ' as ' || pg_get_userbyid(f.owner) AS detail
FROM pg_trigger AS g
INNER JOIN relations AS r ON r.oid = g.tgrelid
INNER JOIN functions AS f ON f.oid = g.tgfoid
WHERE f.definer AND NOT g.tgisinternal AND g.tgparentid = 0
