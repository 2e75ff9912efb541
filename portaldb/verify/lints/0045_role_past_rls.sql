-- A role of services has a power that stands above row security.
-- level: error
-- fix: ALTER ROLE … NOSUPERUSER NOBYPASSRLS NOREPLICATION NOCREATEROLE; REVOKE the membership.

SELECT
    r.rolname AS object,
    'it has ' || power.name AS detail
FROM pg_roles AS r
CROSS JOIN LATERAL (
    VALUES
    ('SUPERUSER', r.rolsuper),
    ('BYPASSRLS', r.rolbypassrls AND r.rolname <> all(%(bypassing)s::text[])),
    ('REPLICATION', r.rolreplication),
    ('CREATEROLE', r.rolcreaterole)
) AS power (name, has)
WHERE
    power.has
    AND (
        r.rolname = any(%(roles)s::text[])
        OR r.oid IN (SELECT s.oid FROM services AS s)
        OR r.oid IN (
            SELECT m.member
            FROM pg_auth_members AS m
            INNER JOIN services AS s ON s.oid = m.roleid
            WHERE r.rolcanlogin
        )
    )
UNION ALL
SELECT
    s.name,
    'it reaches ' || r.rolname || ', which has '
    || CASE WHEN r.rolsuper THEN 'SUPERUSER' ELSE 'BYPASSRLS' END
FROM services AS s
INNER JOIN reach AS e ON e.role = s.oid AND e.reached <> s.oid
INNER JOIN pg_roles AS r ON r.oid = e.reached
WHERE r.rolsuper OR r.rolbypassrls
