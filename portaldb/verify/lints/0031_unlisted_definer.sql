-- A SECURITY DEFINER function with the power of the tables' owner or of a superuser is not on the access file's closed list.
-- level: error
-- fix: SECURITY INVOKER where it can be; else give it to a role that is itself under policies; else name it in [definers].

SELECT
    f.name AS object,
    'it runs as ' || r.rolname AS detail
FROM functions AS f
INNER JOIN pg_roles AS r ON r.oid = f.owner
WHERE
    f.definer
    AND f.name <> all(%(definers)s::text[])
    AND (r.rolsuper OR r.rolbypassrls OR EXISTS (SELECT FROM tables AS t WHERE t.owner = r.oid))
