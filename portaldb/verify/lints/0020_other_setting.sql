-- A policy depends on a setting that is not the context's, and any session may SET it.
-- level: error
-- fix: Ask the context's function; keep what decides in a table that services cannot write.

SELECT
    p.name AS object,
    'it reads the setting ' || said.setting AS detail
FROM policies AS p
INNER JOIN nodes AS n ON n.policy = p.oid
INNER JOIN pg_proc AS f
    ON
        f.oid = n.function
        AND f.proname = 'current_setting'
        AND f.pronamespace = 'pg_catalog'::regnamespace
INNER JOIN nodes AS c
    ON
        c.policy = n.policy
        AND c.clause = n.clause
        AND c.depth = n.depth + 1
        AND c.place BETWEEN n.place AND n.last
        AND c.kind = 'CONST'
        AND c.fields LIKE '%%:consttype 25 %%'
-- A constant is kept as its bytes, the length in the first four.
CROSS JOIN LATERAL (
    SELECT string_agg(chr(b.byte::integer), '' ORDER BY b.place) AS setting
    FROM regexp_split_to_table(substring(c.fields FROM '\[ (.*) \]'), ' ')
        WITH ORDINALITY AS b (byte, place)
    WHERE b.place > 4
) AS said
WHERE said.setting <> %(setting)s
UNION ALL
SELECT
    p.name,
    f.name || ' reads the setting ' || said.setting[1]
FROM policies AS p
INNER JOIN nodes AS n ON n.policy = p.oid
INNER JOIN functions AS f ON f.oid = n.function
CROSS JOIN LATERAL regexp_matches(f.body, 'current_setting\s*\(\s*''([^'']+)''', 'g')
    AS said (setting)
WHERE said.setting[1] <> %(setting)s
UNION ALL
SELECT
    v.name,
    'policies ask it, and ' || coalesce(v.function || ' reads', 'it reads') || ' the setting ' || v.setting
FROM (
    SELECT
        s.view,
        s.name,
        NULL::text AS function,
        s.setting
    FROM view_settings AS s
    UNION ALL
    SELECT
        r.oid,
        r.name,
        f.name,
        said.setting[1]
    FROM relations AS r
    INNER JOIN pg_rewrite AS w ON w.ev_class = r.oid
    INNER JOIN pg_depend AS d
        ON
            d.classid = 'pg_rewrite'::regclass
            AND d.objid = w.oid
            AND d.refclassid = 'pg_proc'::regclass
    INNER JOIN functions AS f ON f.oid = d.refobjid
    CROSS JOIN LATERAL regexp_matches(f.body, 'current_setting\s*\(\s*''([^'']+)''', 'g')
        AS said (setting)
    WHERE r.kind IN ('v', 'm')
) AS v
WHERE
    v.setting <> %(setting)s
    AND EXISTS (
        SELECT FROM policies AS p
        INNER JOIN pg_depend AS d
            ON
                d.classid = 'pg_policy'::regclass
                AND d.objid = p.oid
                AND d.refclassid = 'pg_class'::regclass
        LEFT JOIN shows AS s ON s.view = d.refobjid
        WHERE v.view IN (d.refobjid, s.shown)
    )
