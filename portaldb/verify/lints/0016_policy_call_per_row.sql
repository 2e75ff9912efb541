-- A policy calls a function for each row that could be asked once a statement.
-- level: warning
-- fix: Put the call under a scalar sub-select: (SELECT function()).

SELECT
    p.name AS object,
    f.proname || '() is called for each row' AS detail
FROM policies AS p
INNER JOIN nodes AS n
    ON n.policy = p.oid AND n.clause = 'USING' AND n.kind = 'FUNCEXPR' AND n.level = 0
INNER JOIN pg_proc AS f ON f.oid = n.function AND f.provolatile <> 'i'
WHERE NOT n.reads_row
