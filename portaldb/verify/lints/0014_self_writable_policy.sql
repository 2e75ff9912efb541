-- A policy decides by a column of another table that the same role may change.
-- level: error
-- fix: REVOKE UPDATE on that column from the role; change it in a function that checks its caller.

SELECT
    p.name AS object,
    a.name || ' may UPDATE ' || r.name || ' (' || t.attname || ')' AS detail
FROM policies AS p
INNER JOIN pg_depend AS d
    ON
        d.classid = 'pg_policy'::regclass
        AND d.objid = p.oid
        AND d.refclassid = 'pg_class'::regclass
        AND d.refobjsubid > 0
        AND d.refobjid <> p.relation
INNER JOIN relations AS r ON r.oid = d.refobjid
INNER JOIN pg_attribute AS t ON t.attrelid = d.refobjid AND t.attnum = d.refobjsubid
INNER JOIN applications AS a ON p.roles && ARRAY[0::oid, a.oid]
WHERE has_column_privilege(a.oid, d.refobjid, t.attnum, 'UPDATE')
