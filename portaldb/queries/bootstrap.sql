-- What `portaldb init` looks at and does. {name}s are filled with quoted identifiers and literals.

-- name: server
SELECT
    current_setting('server_version_num')::int AS version,
    r.rolname AS login,
    r.rolsuper AS superuser,
    r.rolcreaterole AS createrole,
    r.rolcreatedb AS createdb,
    pg_is_in_recovery() AS standby
FROM pg_roles AS r
WHERE r.rolname = session_user

-- name: roles
SELECT
    r.rolname AS name,
    r.rolcanlogin AS login,
    r.rolsuper AS superuser,
    r.rolbypassrls AS bypassrls,
    r.rolcreaterole AS createrole,
    r.rolcreatedb AS createdb,
    r.rolreplication AS replication,
    ARRAY(
        SELECT g.rolname::text
        FROM pg_auth_members AS m
        INNER JOIN pg_roles AS g ON g.oid = m.roleid
        WHERE m.member = r.oid
    ) AS member_of
FROM pg_roles AS r
WHERE r.rolname = any(%(names)s)

-- name: may_set
SELECT pg_has_role(session_user, %(role)s, 'USAGE') AS inherits, pg_has_role(session_user, %(role)s, 'MEMBER') AS member

-- name: database
SELECT
    pg_get_userbyid(d.datdba) AS owner,
    pg_encoding_to_char(d.encoding) AS encoding,
    d.datcollate AS lc_collate,
    d.datctype AS lc_ctype,
    d.datconnlimit AS connection_limit
FROM pg_database AS d
WHERE d.datname = %(name)s

-- name: inside
SELECT
    ARRAY(SELECT e.extname::text FROM pg_extension AS e) AS extensions,
    ARRAY(SELECT a.name::text FROM pg_available_extensions AS a) AS available,
    -- Not shown to every login; then it is NULL, as it is where pg_cron is not loaded.
    (SELECT s.setting FROM pg_settings AS s WHERE s.name = 'cron.database_name') AS cron_database,
    coalesce(
        (
            SELECT bool_or(acl.grantee = 0)
            FROM pg_database AS d
            CROSS JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS acl
            WHERE d.datname = current_database()
        ),
        false
    ) AS public_may_connect,
    coalesce(
        (
            SELECT bool_or(acl.grantee = 0 AND acl.privilege_type = 'CREATE')
            FROM pg_namespace AS n
            CROSS JOIN LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS acl
            WHERE n.nspname = 'public'
        ),
        false
    ) AS public_may_create,
    ARRAY(
        SELECT r.rolname::text
        FROM pg_roles AS r
        WHERE
            r.rolname = any(%(names)s)
            AND EXISTS (
                SELECT
                FROM pg_database AS d
                CROSS JOIN LATERAL aclexplode(d.datacl) AS acl
                WHERE d.datname = current_database() AND acl.grantee = r.oid AND acl.privilege_type = 'CONNECT'
            )
    ) AS may_connect,
    CASE
        WHEN to_regnamespace('cron') IS NULL OR to_regrole('portal_maintenance') IS NULL THEN false
        ELSE has_schema_privilege('portal_maintenance', 'cron', 'USAGE')
            AND NOT EXISTS (
                SELECT
                FROM pg_class AS c
                CROSS JOIN LATERAL aclexplode(c.relacl) AS acl
                WHERE
                    c.oid = to_regclass('cron.job_run_details')
                    AND acl.grantee = 0
                    AND acl.privilege_type = 'DELETE'
            )
    END AS cron_granted,
    (SELECT pg_get_userbyid(n.nspowner) FROM pg_namespace AS n WHERE n.nspname = 'public') AS public_owner

-- name: prepare
SELECT
    set_config('statement_timeout', '0', false),
    set_config('lock_timeout', '0', false),
    set_config('idle_session_timeout', '0', false),
    set_config('default_transaction_read_only', 'off', false)

-- name: try_lock
SELECT pg_try_advisory_lock(%(key)s) AS held

-- name: lock
SELECT pg_advisory_lock(%(key)s)

-- name: create_role
CREATE ROLE {role} {attributes};

-- name: alter_role
ALTER ROLE {role} {attributes};

-- name: comment_role
COMMENT ON ROLE {role} IS {comment};

-- name: grant_role
GRANT {granted} TO {role};

-- name: create_database
-- In the spec's tablespace, pg_default, which is template0's: to name it takes a right that no managed server gives.
CREATE DATABASE {database}
    WITH
    OWNER = {owner}
    TEMPLATE = template0
    ENCODING = 'UTF8'
    LC_COLLATE = {locale}
    LC_CTYPE = {locale}
    CONNECTION LIMIT = 100;

-- name: alter_database_owner
ALTER DATABASE {database} OWNER TO {owner};

-- name: connection_limit
ALTER DATABASE {database} CONNECTION LIMIT 100;

-- name: revoke_public
REVOKE ALL ON DATABASE {database} FROM PUBLIC;

-- name: grant_connect
GRANT CONNECT ON DATABASE {database} TO {role};

-- name: schema_owner
ALTER SCHEMA public OWNER TO pg_database_owner;

-- name: revoke_create
REVOKE CREATE ON SCHEMA public FROM PUBLIC;

-- name: create_extension
CREATE EXTENSION {extension} SCHEMA public;

-- name: create_cron
CREATE EXTENSION pg_cron;
GRANT USAGE ON SCHEMA cron TO portal_maintenance, mcp_admin;
-- pg_cron lets everyone delete from its history, and its policy there does not hold a role with BYPASSRLS.
REVOKE DELETE ON cron.job_run_details FROM PUBLIC;
GRANT DELETE ON cron.job_run_details TO portal_maintenance, mcp_admin;

-- name: grant_cron
GRANT USAGE ON SCHEMA cron TO portal_maintenance, mcp_admin;
-- pg_cron lets everyone delete from its history, and its policy there does not hold a role with BYPASSRLS.
REVOKE DELETE ON cron.job_run_details FROM PUBLIC;
GRANT DELETE ON cron.job_run_details TO portal_maintenance, mcp_admin;

-- name: become
SET ROLE {role};
