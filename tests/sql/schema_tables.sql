-- The seven tables of the spec and the job registry, column by column, and that each is explained.
\ir begin.psql
SET LOCAL search_path = tap;
SELECT plan(6);

SELECT set_eq(
    $$
    SELECT c.relname::text
    FROM pg_class AS c
    WHERE
        c.relnamespace = 'public'::regnamespace
        AND c.relkind IN ('r', 'p')
        AND NOT c.relispartition
        AND c.relowner = 'mcp_admin'::regrole
        AND c.relname !~ '^(_?yoyo|portaldb)_|^_'
    $$,
    ARRAY[
        'users', 'mcp_servers', 'user_server_configs', 'user_sessions', 'audit_logs', 'teams',
        'team_members', 'team_invitations', 'container_status', 'settings', 'jobs',
        'job_runs'
    ],
    'the owner has the tables of the spec and the job registry, and no other'
);

CREATE TEMPORARY TABLE expected (table_name, position, column_name, type, required, value) AS
VALUES
('user_sessions', 11, 'family_id', 'uuid', false, NULL),
('user_sessions', 13, 'renewable_until', 'timestamp with time zone', false, NULL),
('users', 11, 'erased_at', 'timestamp with time zone', false, NULL),
('user_sessions', 12, 'refreshed_at', 'timestamp with time zone', false, NULL),
('users', 1, 'id', 'uuid', true, 'public.uuid_generate_v4()'),
('users', 2, 'azure_oid', 'character varying(255)', true, NULL),
('users', 3, 'email', 'character varying(255)', true, NULL),
('users', 4, 'display_name', 'character varying(255)', false, NULL),
('users', 5, 'role', 'character varying(50)', true, '''standard_user''::character varying'),
('users', 6, 'metadata', 'jsonb', false, '''{}''::jsonb'),
('users', 7, 'created_at', 'timestamp with time zone', false, 'CURRENT_TIMESTAMP'),
('users', 8, 'updated_at', 'timestamp with time zone', false, 'CURRENT_TIMESTAMP'),
('users', 9, 'last_login_at', 'timestamp with time zone', false, NULL),
('users', 10, 'is_active', 'boolean', false, 'true'),

('mcp_servers', 1, 'id', 'uuid', true, 'public.uuid_generate_v4()'),
('mcp_servers', 2, 'name', 'character varying(255)', true, NULL),
('mcp_servers', 3, 'display_name', 'character varying(255)', false, NULL),
('mcp_servers', 4, 'description', 'text', false, NULL),
('mcp_servers', 5, 'image', 'character varying(500)', true, NULL),
(
    'mcp_servers', 6, 'catalog_type', 'character varying(50)', true,
    '''predefined''::character varying'
),
('mcp_servers', 7, 'category', 'character varying(100)', false, NULL),
('mcp_servers', 8, 'tags', 'text[]', false, NULL),
('mcp_servers', 9, 'metadata', 'jsonb', false, '''{}''::jsonb'),
('mcp_servers', 10, 'version', 'character varying(50)', false, NULL),
('mcp_servers', 11, 'created_by', 'uuid', false, NULL),
('mcp_servers', 12, 'created_at', 'timestamp with time zone', false, 'CURRENT_TIMESTAMP'),
('mcp_servers', 13, 'updated_at', 'timestamp with time zone', false, 'CURRENT_TIMESTAMP'),
('mcp_servers', 14, 'is_active', 'boolean', false, 'true'),

('user_server_configs', 1, 'id', 'uuid', true, 'public.uuid_generate_v4()'),
('user_server_configs', 2, 'user_id', 'uuid', true, NULL),
('user_server_configs', 3, 'server_id', 'uuid', true, NULL),
('user_server_configs', 4, 'enabled', 'boolean', false, 'false'),
('user_server_configs', 5, 'container_id', 'character varying(255)', false, NULL),
('user_server_configs', 6, 'container_state', 'character varying(50)', false, NULL),
('user_server_configs', 7, 'encrypted_config', 'text', false, NULL),
('user_server_configs', 8, 'config_metadata', 'jsonb', false, '''{}''::jsonb'),
('user_server_configs', 9, 'last_state_change', 'timestamp with time zone', false, NULL),
('user_server_configs', 10, 'created_at', 'timestamp with time zone', false, 'CURRENT_TIMESTAMP'),
('user_server_configs', 11, 'updated_at', 'timestamp with time zone', false, 'CURRENT_TIMESTAMP'),
('user_server_configs', 12, 'restart_requested_at', 'timestamp with time zone', false, NULL),

('user_sessions', 1, 'id', 'uuid', true, 'public.uuid_generate_v4()'),
('user_sessions', 2, 'user_id', 'uuid', true, NULL),
('user_sessions', 3, 'session_token', 'character varying(255)', true, NULL),
('user_sessions', 4, 'refresh_token', 'character varying(255)', false, NULL),
('user_sessions', 5, 'ip_address', 'inet', false, NULL),
('user_sessions', 6, 'user_agent', 'text', false, NULL),
('user_sessions', 7, 'created_at', 'timestamp with time zone', false, 'CURRENT_TIMESTAMP'),
('user_sessions', 8, 'last_activity', 'timestamp with time zone', false, 'CURRENT_TIMESTAMP'),
('user_sessions', 9, 'expires_at', 'timestamp with time zone', true, NULL),
('user_sessions', 10, 'is_active', 'boolean', false, 'true'),

('audit_logs', 1, 'id', 'uuid', true, 'public.uuid_generate_v4()'),
('audit_logs', 2, 'user_id', 'uuid', false, NULL),
('audit_logs', 3, 'action', 'character varying(100)', true, NULL),
('audit_logs', 4, 'resource_type', 'character varying(50)', false, NULL),
('audit_logs', 5, 'resource_id', 'uuid', false, NULL),
('audit_logs', 6, 'details', 'jsonb', false, '''{}''::jsonb'),
('audit_logs', 7, 'ip_address', 'inet', false, NULL),
('audit_logs', 8, 'user_agent', 'text', false, NULL),
('audit_logs', 9, 'session_id', 'character varying(255)', false, NULL),
('audit_logs', 10, 'timestamp', 'timestamp with time zone', true, 'CURRENT_TIMESTAMP'),

('teams', 1, 'id', 'uuid', true, 'public.uuid_generate_v4()'),
('teams', 2, 'name', 'character varying(255)', true, NULL),
('teams', 3, 'description', 'text', false, NULL),
('teams', 4, 'created_by', 'uuid', false, NULL),
('teams', 5, 'created_at', 'timestamp with time zone', false, 'CURRENT_TIMESTAMP'),
('teams', 6, 'is_active', 'boolean', false, 'true'),

('team_members', 1, 'id', 'uuid', true, 'public.uuid_generate_v4()'),
('team_members', 2, 'team_id', 'uuid', true, NULL),
('team_members', 3, 'user_id', 'uuid', true, NULL),
('team_members', 4, 'role', 'character varying(50)', false, '''member''::character varying'),
('team_members', 5, 'joined_at', 'timestamp with time zone', false, 'CURRENT_TIMESTAMP'),

('team_invitations', 1, 'team_id', 'uuid', true, NULL),
('team_invitations', 2, 'user_id', 'uuid', true, NULL),
('team_invitations', 3, 'role', 'character varying(50)', true, '''member''::character varying'),
('team_invitations', 4, 'invited_by', 'uuid', true, NULL),
('team_invitations', 5, 'created_at', 'timestamp with time zone', true, 'CURRENT_TIMESTAMP'),

('container_status', 1, 'config_id', 'uuid', true, NULL),
('container_status', 2, 'user_id', 'uuid', false, NULL),
('container_status', 3, 'reason', 'character varying(50)', false, NULL),
('container_status', 4, 'message', 'text', false, NULL),
('container_status', 5, 'restart_count', 'bigint', true, '0'),
('container_status', 6, 'next_retry_at', 'timestamp with time zone', false, NULL),
('container_status', 7, 'generation_wanted', 'character varying(64)', false, NULL),
('container_status', 8, 'generation_seen', 'character varying(64)', false, NULL),
('container_status', 9, 'lease_owner', 'character varying(255)', false, NULL),
('container_status', 10, 'lease_until', 'timestamp with time zone', false, NULL),
('container_status', 11, 'fencing_token', 'bigint', true, '1'),
('container_status', 12, 'restart_served', 'timestamp with time zone', false, NULL),

('settings', 1, 'name', 'character varying(63)', true, NULL),
('settings', 2, 'value', 'text', true, NULL),
('settings', 3, 'description', 'text', true, NULL),
('jobs', 1, 'name', 'character varying(63)', true, NULL),
('jobs', 2, 'schedule', 'text', true, NULL),
('jobs', 3, 'command', 'text', true, NULL),
('jobs', 4, 'description', 'text', true, NULL),
('jobs', 5, 'is_active', 'boolean', true, 'true'),
('jobs', 6, 'repeats', 'boolean', true, 'false'),
('job_runs', 1, 'id', 'uuid', true, 'public.uuid_generate_v4()'),
('job_runs', 2, 'job', 'character varying(63)', true, NULL),
('job_runs', 3, 'started_at', 'timestamp with time zone', true, 'clock_timestamp()'),
('job_runs', 4, 'finished_at', 'timestamp with time zone', false, NULL),
('job_runs', 5, 'result', 'character varying(20)', true, '''running''::character varying'),
('job_runs', 6, 'calls', 'bigint', true, '0'),
('job_runs', 7, 'affected', 'bigint', true, '0'),
('job_runs', 8, 'note', 'text', false, NULL),
('job_runs', 9, 'runner', 'text', true, NULL);

CREATE TEMPORARY VIEW actual AS
SELECT
    c.relname::text AS table_name,
    a.attnum::integer AS position,
    a.attname::text AS column_name,
    format_type(a.atttypid, a.atttypmod) AS type,
    a.attnotnull::boolean AS required,
    pg_get_expr(d.adbin, d.adrelid) AS value
FROM pg_class AS c
INNER JOIN pg_attribute AS a ON c.oid = a.attrelid
LEFT JOIN pg_attrdef AS d ON a.attrelid = d.adrelid AND a.attnum = d.adnum
WHERE
    c.relnamespace = 'public'::regnamespace
    AND c.relname IN (SELECT e.table_name FROM expected AS e)
    AND a.attnum > 0
    AND NOT a.attisdropped;

SELECT set_eq(
    'TABLE actual', 'TABLE expected',
    'every column has the type, the nullability and the default of the spec, in its order'
);

SELECT set_eq(
    $$
    SELECT c.relname::text, c.relkind::text
    FROM pg_class AS c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname IN (SELECT e.table_name FROM expected AS e)
    $$,
    $$
    SELECT DISTINCT e.table_name, CASE e.table_name WHEN 'audit_logs' THEN 'p' ELSE 'r' END FROM expected AS e
    $$,
    'audit_logs alone is partitioned'
);
SELECT is(
    pg_get_partkeydef('public.audit_logs'::regclass), 'RANGE ("timestamp")',
    'audit_logs is partitioned by a range of timestamp'
);

SELECT is_empty(
    $$
    SELECT c.relname
    FROM pg_class AS c
    WHERE
        c.relowner = 'mcp_admin'::regrole
        AND c.relnamespace = 'public'::regnamespace
        AND c.relkind IN ('r', 'p')
        AND (c.relispartition OR c.relname IN (SELECT e.table_name FROM expected AS e))
        AND obj_description(c.oid, 'pg_class') IS NULL
    $$,
    'every table says what it is'
);
SELECT is_empty(
    $$
    SELECT a.table_name, a.column_name
    FROM actual AS a
    WHERE col_description(format('public.%I', a.table_name)::regclass, a.position) IS NULL
    $$,
    'every column says what it is'
);

SELECT finish();
ROLLBACK;
