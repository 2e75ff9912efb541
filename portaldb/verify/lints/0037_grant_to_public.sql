-- Everybody has a privilege on a relation.
-- level: error
-- fix: REVOKE it FROM PUBLIC, and grant it to the roles that need it.

SELECT
    g.name AS object,
    'PUBLIC has ' || g.privilege || coalesce(' (' || g.col || ')', '') AS detail
FROM grants AS g
WHERE g.role = 0
