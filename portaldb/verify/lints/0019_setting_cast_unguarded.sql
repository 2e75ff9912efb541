-- A setting is cast as it is, which is an error for '', and '' is what a pooled SET LOCAL leaves behind.
-- level: error
-- fix: nullif(current_setting(name, true), '')::type.

SELECT
    p.name AS object,
    'current_setting is cast without nullif' AS detail
FROM policies AS p
INNER JOIN nodes AS n ON n.policy = p.oid
INNER JOIN pg_proc AS f
    ON
        f.oid = n.function
        AND f.proname = 'current_setting'
        AND f.pronamespace = 'pg_catalog'::regnamespace
INNER JOIN nodes AS above
    ON
        above.policy = n.policy
        AND above.clause = n.clause
        AND above.depth = n.depth - 1
        AND n.place BETWEEN above.place AND above.last
WHERE above.kind = 'COERCEVIAIO'
UNION ALL
SELECT
    f.name,
    'current_setting is cast without nullif'
FROM functions AS f
WHERE
    f.body ~* 'current_setting\s*\([^()]*\)\s*\)?\s*::\s*(?!text|varchar|character)'
    OR f.body ~* 'cast\s*\(\s*current_setting\s*\([^()]*\)\s*as\s+(?!text|varchar|character)'
UNION ALL
SELECT
    s.name,
    'current_setting is cast without nullif'
FROM view_settings AS s
WHERE s.converted AND s.setting LIKE '%%.%%'
