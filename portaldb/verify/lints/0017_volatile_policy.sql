-- A policy calls a volatile function, so its answer may differ from row to row.
-- level: warning
-- fix: Use a STABLE or IMMUTABLE function; declare the function as what it is.

SELECT
    p.name AS object,
    f.proname || ' is volatile' AS detail
FROM policies AS p
INNER JOIN nodes AS n ON n.policy = p.oid
INNER JOIN pg_proc AS f ON f.oid = n.function AND f.provolatile = 'v'
