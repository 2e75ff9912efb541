-- A rewrite rule stands on a relation, and what it does is done with the rights of the relation's owner.
-- level: error
-- fix: DROP RULE; use a trigger, or a function that checks its caller.

SELECT
    'rule ' || w.rulename || ' on ' || r.name AS object,
    'it acts as ' || pg_get_userbyid(r.owner) AS detail
FROM relations AS r
INNER JOIN pg_rewrite AS w ON w.ev_class = r.oid
WHERE w.rulename <> '_RETURN'
