-- What a connection asks of the server before anything else.

-- name: facts
SELECT
    pg_backend_pid() AS pid,
    current_setting('server_version_num')::int AS version,
    current_database() AS database,
    session_user AS login,
    pg_is_in_recovery() AS standby,
    (SELECT r.rolname FROM pg_roles AS r WHERE r.oid = d.datdba) AS owner,
    EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = 'mcp_admin') AS initialised,
    CASE
        WHEN EXISTS (SELECT FROM pg_roles AS r WHERE r.rolname = 'mcp_admin')
            -- From 16 on a member may be one that cannot SET ROLE, as the creator of a role is at first.
            THEN pg_has_role(
                session_user, 'mcp_admin',
                CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END
            )
        ELSE false
    END AS may_be_owner,
    ARRAY(
        SELECT wanted.name
        FROM unnest(ARRAY['uuid-ossp', 'pgcrypto']) AS wanted (name)
        WHERE NOT EXISTS (SELECT FROM pg_extension AS e WHERE e.extname = wanted.name)
    ) AS missing_extensions
FROM pg_database AS d
WHERE d.datname = current_database()

-- name: backend
SELECT pg_backend_pid() AS pid

-- name: become
SELECT set_config('role', %(role)s, true)
