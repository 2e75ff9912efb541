-- A materialized view holds rows of a table with row security, and others may read it.
-- level: error
-- fix: REVOKE it; serve it through a function or a security_barrier view that filters by the context.

SELECT
    r.name AS object,
    'it holds rows of ' || t.name || ' and ' || g.grantee || ' has ' || g.privilege AS detail
FROM relations AS r
INNER JOIN grants AS g ON g.relation = r.oid
INNER JOIN shows AS s ON s.view = r.oid
INNER JOIN tables AS t ON t.oid = s.shown AND t.secured
WHERE r.kind = 'm'
