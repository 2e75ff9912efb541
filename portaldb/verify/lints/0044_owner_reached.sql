-- A service's role owns a relation, or may become a role that does.
-- level: error
-- fix: REVOKE the membership; ALTER … OWNER TO the owner.

SELECT
    s.name AS object,
    CASE
        WHEN e.reached = s.oid THEN 'it owns ' || r.name
        ELSE 'it reaches ' || pg_get_userbyid(e.reached) || ', the owner'
    END AS detail
FROM services AS s
INNER JOIN reach AS e ON e.role = s.oid
INNER JOIN relations AS r ON r.owner = e.reached
