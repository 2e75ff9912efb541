-- A policy is for a role on which it has no effect.
-- level: warning
-- fix: Drop the policy, or grant the role what the policy is about; take BYPASSRLS from a role that a policy is meant to hold.

SELECT
    p.name AS object,
    r.rolname || CASE
        WHEN r.rolsuper OR r.rolbypassrls THEN ' passes every policy'
        ELSE ' has no privilege on the table for ' || p.command
    END AS detail
FROM policies AS p
INNER JOIN pg_roles AS r ON r.oid = any(p.roles)
WHERE
    r.rolsuper
    OR r.rolbypassrls
    OR NOT (
        p.command IN ('SELECT', 'ALL') AND has_any_column_privilege(r.oid, p.relation, 'SELECT')
        OR p.command IN ('INSERT', 'ALL') AND has_any_column_privilege(r.oid, p.relation, 'INSERT')
        OR p.command IN ('UPDATE', 'ALL') AND has_any_column_privilege(r.oid, p.relation, 'UPDATE')
        OR p.command IN ('DELETE', 'ALL') AND has_table_privilege(r.oid, p.relation, 'DELETE')
    )
