-- A view over a table with row security reads it with the view owner's rights.
-- level: error
-- fix: ALTER VIEW … SET (security_invoker = true); or accept it with the reason why its readers may see every tenant's share of it.

SELECT
    r.name || ' for ' || g.grantee AS object,
    'it shows ' || t.name AS detail
FROM relations AS r
INNER JOIN grants AS g ON g.relation = r.oid
INNER JOIN shows AS s ON s.view = r.oid
INNER JOIN tables AS t ON t.oid = s.shown AND t.secured
WHERE
    r.kind = 'v'
    AND NOT EXISTS (
        SELECT FROM pg_options_to_table(r.options) AS o
        WHERE o.option_name = 'security_invoker' AND o.option_value::boolean
    )
