-- Somebody other than the owner has a privilege that no policy holds.
-- level: error
-- fix: REVOKE TRUNCATE, REFERENCES, TRIGGER, MAINTAIN, and UPDATE of a sequence.

SELECT
    g.name AS object,
    g.grantee || ' has ' || g.privilege || coalesce(' (' || g.col || ')', '') AS detail
FROM grants AS g
WHERE
    g.privilege IN ('TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN')
    OR g.kind = 'S' AND g.privilege = 'UPDATE'
