-- A function runs under its caller's search path, so the caller chooses what its names mean.
-- level: error
-- fix: ALTER FUNCTION … SET search_path = pg_catalog, pg_temp, or a body of SQL-standard form, whose names are resolved when it is made.

SELECT
    f.name AS object,
    CASE WHEN f.definer THEN 'SECURITY DEFINER, no search_path' ELSE 'no search_path' END AS detail
FROM functions AS f
WHERE f.search_path IS NULL AND NOT f.standard_body
