-- A policy is for PUBLIC, so it lets in every role there is and will be.
-- level: error
-- fix: ALTER POLICY … TO the roles that it is meant for.

SELECT
    p.name AS object,
    'for ' || p.command || ' TO PUBLIC' AS detail
FROM policies AS p
WHERE p.permissive AND 0 = any(p.roles)
