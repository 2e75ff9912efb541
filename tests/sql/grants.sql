-- Who holds which privilege: exactly these, relation by relation and column by column.
-- The two lists between marks are made from portaldb/access.toml by scripts/reference.py.
\ir begin.psql
SET LOCAL search_path = tap;
SELECT plan(13);

CREATE TEMPORARY VIEW relations AS
SELECT
    c.oid,
    c.relname::text AS name,
    c.relacl,
    c.relowner,
    c.relispartition
FROM pg_class AS c
INNER JOIN pg_roles AS o ON c.relowner = o.oid
INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
WHERE
    n.nspname = 'public' AND o.rolname IN ('mcp_admin', 'portal_api')
    -- The record of migrations is not of their making.
    AND c.relname !~ '^(_?yoyo|portaldb)_|^_';

SELECT set_eq(
    $$
    SELECT
        coalesce(r.rolname::text, 'PUBLIC') AS role_name,
        c.name,
        string_agg(a.privilege_type, ' ' ORDER BY a.privilege_type) AS privileges
    FROM relations AS c
    CROSS JOIN aclexplode(c.relacl) AS a
    LEFT JOIN pg_roles AS r ON r.oid = a.grantee
    WHERE r.rolname IS DISTINCT FROM 'mcp_admin'
    GROUP BY 1, 2
    $$,
    $$
    -- from access.toml, relations: begin
    VALUES
    ('portal_app', 'users', 'SELECT'),
    ('portal_app', 'mcp_servers', 'DELETE SELECT'),
    ('portal_app', 'user_server_configs', 'DELETE SELECT'),
    ('portal_app', 'user_sessions', 'DELETE SELECT'),
    ('portal_app', 'teams', 'SELECT'),
    ('portal_app', 'team_members', 'SELECT'),
    ('portal_app', 'team_invitations', 'SELECT'),
    ('portal_app', 'user_dashboard', 'SELECT'),
    ('portal_app', 'server_statistics', 'SELECT'),
    ('portal_app', 'user_servers', 'SELECT'),
    ('portal_app', 'app_reach', 'SELECT'),
    ('portal_runner', 'mcp_servers', 'SELECT'),
    ('portal_runner', 'user_server_configs', 'SELECT'),
    ('portal_runner', 'container_status', 'SELECT'),
    ('portal_maintenance', 'settings', 'SELECT'),
    ('portal_maintenance', 'jobs', 'SELECT'),
    ('portal_maintenance', 'job_runs', 'DELETE SELECT'),
    ('portal_maintenance', 'job_status', 'SELECT'),
    ('portal_monitor', 'monitor_active_sessions', 'SELECT'),
    ('portal_monitor', 'monitor_container_status', 'SELECT'),
    ('portal_monitor', 'monitor_audit_summary', 'SELECT'),
    ('portal_monitor', 'monitor_encryption_keys', 'SELECT'),
    ('portal_monitor', 'monitor_audit_partitions', 'SELECT'),
    ('portal_monitor', 'monitor_audit_runway', 'SELECT'),
    ('portal_monitor', 'monitor_container_reasons', 'SELECT'),
    ('portal_monitor', 'monitor_connections', 'SELECT'),
    ('portal_monitor', 'monitor_tables', 'SELECT'),
    ('portal_monitor', 'monitor_indexes', 'SELECT'),
    ('portal_monitor', 'job_status', 'SELECT'),
    ('portal_api', 'mcp_servers', 'DELETE'),
    ('portal_api', 'user_server_configs', 'DELETE'),
    ('portal_api', 'user_sessions', 'DELETE'),
    ('portal_api', 'audit_logs', 'SELECT'),
    ('portal_api', 'team_members', 'DELETE'),
    ('portal_api', 'team_invitations', 'DELETE'),
    ('portal_api', 'app_reach', 'SELECT'),
    ('portal_api', 'settings', 'SELECT')
    -- from access.toml, relations: end
    $$,
    'privileges on whole relations are these, and no TRUNCATE, REFERENCES or TRIGGER among them'
);
SELECT set_eq(
    $$
    SELECT
        coalesce(r.rolname::text, 'PUBLIC') AS role_name,
        c.name,
        x.privilege_type,
        string_agg(a.attname::text, ' ' ORDER BY a.attname::text COLLATE "C") AS columns
    FROM relations AS c
    INNER JOIN pg_attribute AS a ON a.attrelid = c.oid
    CROSS JOIN aclexplode(a.attacl) AS x
    LEFT JOIN pg_roles AS r ON r.oid = x.grantee
    GROUP BY 1, 2, 3
    $$,
    $$
    -- from access.toml, columns: begin
    VALUES
    ('portal_app', 'users', 'UPDATE', 'display_name metadata'),
    (
        'portal_app', 'mcp_servers', 'INSERT',
        'catalog_type category created_by description display_name image metadata name tags '
        'version'
    ),
    (
        'portal_app', 'mcp_servers', 'UPDATE',
        'category description display_name image is_active metadata tags version'
    ),
    (
        'portal_app', 'user_server_configs', 'INSERT',
        'config_metadata enabled encrypted_config server_id user_id'
    ),
    (
        'portal_app', 'user_server_configs', 'UPDATE',
        'config_metadata enabled encrypted_config restart_requested_at'
    ),
    (
        'portal_app', 'container_status', 'SELECT',
        'config_id generation_seen generation_wanted message next_retry_at reason restart_count '
        'restart_served user_id'
    ),
    (
        'portal_app', 'user_sessions', 'INSERT',
        'expires_at ip_address refresh_token session_token user_agent user_id'
    ),
    (
        'portal_app', 'user_sessions', 'UPDATE',
        'expires_at is_active last_activity refresh_token session_token'
    ),
    ('portal_runner', 'users', 'SELECT', 'id is_active'),
    (
        'portal_runner', 'user_server_configs', 'UPDATE',
        'container_id container_state last_state_change'
    ),
    ('portal_runner', 'container_status', 'INSERT', 'config_id lease_owner lease_until'),
    (
        'portal_runner', 'container_status', 'UPDATE',
        'fencing_token generation_seen generation_wanted lease_owner lease_until message '
        'next_retry_at reason restart_count restart_served'
    ),
    ('portal_maintenance', 'user_server_configs', 'SELECT', 'encrypted_config id server_id user_id'),
    ('portal_maintenance', 'user_server_configs', 'UPDATE', 'encrypted_config'),
    ('portal_maintenance', 'job_runs', 'INSERT', 'job runner'),
    ('portal_maintenance', 'job_runs', 'UPDATE', 'affected calls finished_at note result'),
    (
        'portal_api', 'users', 'SELECT',
        'azure_oid display_name email erased_at id is_active metadata role'
    ),
    ('portal_api', 'users', 'INSERT', 'azure_oid display_name email metadata'),
    (
        'portal_api', 'users', 'UPDATE',
        'azure_oid display_name email erased_at is_active last_login_at metadata role'
    ),
    ('portal_api', 'mcp_servers', 'SELECT', 'catalog_type created_by id'),
    ('portal_api', 'user_server_configs', 'SELECT', 'id user_id'),
    (
        'portal_api', 'user_sessions', 'SELECT',
        'expires_at family_id id is_active last_activity refresh_token refreshed_at '
        'renewable_until session_token user_id'
    ),
    (
        'portal_api', 'user_sessions', 'INSERT',
        'expires_at family_id id ip_address refresh_token renewable_until session_token '
        'user_agent user_id'
    ),
    ('portal_api', 'user_sessions', 'UPDATE', 'expires_at is_active last_activity refreshed_at'),
    (
        'portal_api', 'audit_logs', 'INSERT',
        'action details id ip_address resource_id resource_type session_id user_agent user_id'
    ),
    ('portal_api', 'teams', 'SELECT', 'id is_active name'),
    ('portal_api', 'teams', 'INSERT', 'created_by description id name'),
    ('portal_api', 'teams', 'UPDATE', 'is_active'),
    ('portal_api', 'team_members', 'SELECT', 'id role team_id user_id'),
    ('portal_api', 'team_members', 'INSERT', 'role team_id user_id'),
    ('portal_api', 'team_members', 'UPDATE', 'role'),
    ('portal_api', 'team_invitations', 'SELECT', 'invited_by role team_id user_id'),
    ('portal_api', 'team_invitations', 'INSERT', 'invited_by role team_id user_id')
    -- from access.toml, columns: end
    $$,
    'privileges on columns are these'
);
SELECT is_empty(
    $$
    SELECT c.name, a.privilege_type
    FROM relations AS c
    CROSS JOIN aclexplode(c.relacl) AS a
    WHERE a.is_grantable AND a.grantee <> c.relowner
    $$,
    'nobody may pass a privilege on'
);

-- Partitions, today's and the one that the job makes next
SET LOCAL ROLE portal_maintenance;
SELECT is(
    public.ensure_audit_partitions(4, CURRENT_TIMESTAMP), 1,
    'the job makes the next month''s partition'
);
RESET ROLE;
SELECT is_empty(
    $$
    SELECT i.inhrelid::regclass, r.rolname, p.name
    FROM pg_inherits AS i
    CROSS JOIN pg_roles AS r
    CROSS JOIN unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS p (name)
    WHERE
        i.inhparent = 'public.audit_logs'::regclass
        AND r.rolname LIKE 'portal\_%'
        AND r.rolname <> 'portal_backup'
        AND has_any_column_privilege(r.oid, i.inhrelid, p.name)
    $$,
    'no role reads or writes a partition directly, not one made a moment ago either'
);
SELECT is_empty(
    $$
    SELECT i.inhrelid::regclass
    FROM pg_inherits AS i
    INNER JOIN pg_class AS c ON c.oid = i.inhrelid
    CROSS JOIN aclexplode(c.relacl) AS a
    WHERE i.inhparent = 'public.audit_logs'::regclass AND a.grantee <> c.relowner
    $$,
    'no partition has a grant of any kind'
);

-- Roles
SELECT is_empty(
    $$
    SELECT r.rolname
    FROM pg_roles AS r
    WHERE
        (r.rolname LIKE 'portal\_%' OR r.rolname = 'mcp_admin')
        AND (r.rolsuper OR r.rolcreaterole OR r.rolreplication OR r.rolcreatedb)
    $$,
    'none of the roles is a superuser, makes roles or databases, or replicates'
);
SELECT is_empty(
    $$
    SELECT r.rolname
    FROM pg_roles AS r
    WHERE
        (r.rolname LIKE 'portal\_%' OR r.rolname = 'mcp_admin')
        AND r.rolname <> 'portal_backup'
        AND r.rolbypassrls
    $$,
    'none of the roles but portal_backup goes past RLS'
);
SELECT set_eq(
    $$
    SELECT r.rolname::text
    FROM pg_roles AS r
    WHERE r.rolname LIKE 'portal\_%' AND r.rolcanlogin
    $$,
    ARRAY['portal_maintenance'],
    'of the portal''s roles only the one that pg_cron runs jobs as may log in by itself'
);
SELECT is_empty(
    $$
    SELECT m.member::regrole, m.roleid::regrole
    FROM pg_auth_members AS m
    WHERE m.roleid IN ('mcp_admin'::regrole, 'portal_api'::regrole) AND m.member <> 'mcp_admin'::regrole
        AND m.member IN (SELECT r.oid FROM pg_roles AS r WHERE r.rolname LIKE 'portal\_%')
    $$,
    'none of the portal''s roles is a member of the owner or of portal_api'
);

-- Schema and database
SELECT is_empty(
    $$
    SELECT r.rolname
    FROM pg_roles AS r
    WHERE r.rolname LIKE 'portal\_%' AND has_schema_privilege(r.oid, 'public', 'CREATE')
    $$,
    'none of the portal''s roles makes objects in the schema'
);
SELECT is_empty(
    $$
    SELECT a.privilege_type
    FROM pg_database AS d
    CROSS JOIN aclexplode(d.datacl) AS a
    WHERE d.datname = current_database() AND a.grantee = 0
    $$,
    'PUBLIC has nothing on the database, so neither a connection nor a temporary schema'
);
SELECT set_eq(
    $$
    SELECT d.defaclrole::regrole::text, d.defaclobjtype::text, d.defaclnamespace::integer
    FROM pg_default_acl AS d
    WHERE NOT EXISTS (SELECT 1 FROM aclexplode(d.defaclacl) AS a WHERE a.grantee = 0)
    $$,
    $$
    VALUES ('mcp_admin', 'f', 0), ('mcp_admin', 'T', 0), ('portal_api', 'f', 0), ('portal_api', 'T', 0)
    $$,
    'new functions and types are closed to PUBLIC'
);

SELECT finish();
ROLLBACK;
