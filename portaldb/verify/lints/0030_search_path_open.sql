-- The pinned search path of a SECURITY DEFINER function lets others put objects before those that are meant.
-- level: error
-- fix: ALTER FUNCTION … SET search_path = pg_catalog, pg_temp, and name every other object with its schema.

SELECT
    f.name AS object,
    CASE
        WHEN e.schema = '$user' THEN '"$user" is another schema for each caller'
        WHEN n.oid IS NOT NULL
            THEN coalesce(s.name, 'PUBLIC') || ' may make objects in ' || n.nspname
        ELSE 'pg_temp is not its last element, and then it is searched first'
    END AS detail
FROM functions AS f
CROSS JOIN LATERAL (
    SELECT
        trim(BOTH '"' FROM part.name) AS schema,
        part.place = count(*) OVER () AS is_last
    FROM regexp_split_to_table(f.search_path, '\s*,\s*') WITH ORDINALITY AS part (name, place)
) AS e
LEFT JOIN (
    pg_namespace AS n
    CROSS JOIN LATERAL aclexplode(n.nspacl) AS a
    LEFT JOIN services AS s ON s.oid = a.grantee
) ON n.nspname = e.schema AND a.privilege_type = 'CREATE' AND (a.grantee = 0 OR s.oid IS NOT NULL)
WHERE
    f.definer
    AND NOT f.standard_body
    AND (e.schema = '$user' OR n.oid IS NOT NULL OR e.is_last AND e.schema <> 'pg_temp')
