-- A setting that decides what policies see is fixed for a role or for the database.
-- level: error
-- fix: ALTER ROLE … RESET it, ALTER DATABASE … RESET it.

SELECT
    CASE WHEN d.setrole = 0 THEN 'database' ELSE coalesce(w.rolname, d.setrole::text) END AS object,
    v.setting AS detail
FROM pg_db_role_setting AS d
LEFT JOIN pg_roles AS w ON w.oid = d.setrole
CROSS JOIN LATERAL unnest(d.setconfig) AS v (setting)
WHERE
    d.setdatabase IN (0, (SELECT b.oid FROM pg_database AS b WHERE b.datname = current_database()))
    AND (
        d.setrole = 0
        OR w.rolname = any(%(roles)s::text[])
        OR d.setrole IN (SELECT s.oid FROM services AS s)
    )
    AND split_part(v.setting, '=', 1) IN (
        'row_security', 'role', 'session_authorization', 'session_replication_role', 'search_path',
        'lo_compat_privileges', %(setting)s
    )
