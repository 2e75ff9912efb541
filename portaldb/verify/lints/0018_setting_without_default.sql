-- A setting is read in a form that is an error where it was never set.
-- level: error
-- fix: current_setting(name, true), which is NULL then.

SELECT
    p.name AS object,
    'current_setting with one argument' AS detail
FROM policies AS p
INNER JOIN nodes AS n ON n.policy = p.oid AND n.function = 'current_setting(text)'::regprocedure
UNION ALL
SELECT
    f.name,
    'current_setting with one argument'
FROM functions AS f
WHERE f.body ~ ('current_setting\s*\(\s*''' || %(setting)s || '''(::text)?\s*\)')
UNION ALL
SELECT
    s.name,
    'current_setting with one argument'
FROM view_settings AS s
WHERE s.setting = %(setting)s AND s.function = 'current_setting(text)'::regprocedure
