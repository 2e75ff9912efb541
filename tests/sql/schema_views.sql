-- Every view, the spec's, the policies' and the monitor's: columns, types, whose rights they use.
\ir begin.psql
SET LOCAL search_path = tap;
SELECT plan(5);

CREATE TEMPORARY TABLE expected (view_name, position, column_name, type) AS
VALUES
('job_status', 1, 'name', 'character varying(63)'),
('job_status', 2, 'schedule', 'text'),
('job_status', 3, 'command', 'text'),
('job_status', 4, 'is_active', 'boolean'),
('job_status', 5, 'last_started_at', 'timestamp with time zone'),
('job_status', 6, 'last_finished_at', 'timestamp with time zone'),
('job_status', 7, 'last_result', 'character varying(20)'),
('job_status', 8, 'last_duration', 'interval'),
('job_status', 9, 'last_calls', 'bigint'),
('job_status', 10, 'last_affected', 'bigint'),
('job_status', 11, 'last_note', 'text'),
('job_status', 12, 'last_runner', 'text'),
('job_status', 13, 'last_success_at', 'timestamp with time zone'),
('user_dashboard', 1, 'user_id', 'uuid'),
('user_dashboard', 2, 'email', 'character varying(255)'),
('user_dashboard', 3, 'display_name', 'character varying(255)'),
('user_dashboard', 4, 'role', 'character varying(50)'),
('user_dashboard', 5, 'total_servers', 'bigint'),
('user_dashboard', 6, 'enabled_servers', 'bigint'),
('user_dashboard', 7, 'running_servers', 'bigint'),
('server_statistics', 1, 'server_id', 'uuid'),
('server_statistics', 2, 'name', 'character varying(255)'),
('server_statistics', 3, 'catalog_type', 'character varying(50)'),
('server_statistics', 4, 'total_users', 'bigint'),
('server_statistics', 5, 'active_users', 'bigint'),
('server_statistics', 6, 'running_instances', 'bigint'),
('user_servers', 1, 'config_id', 'uuid'),
('user_servers', 2, 'user_id', 'uuid'),
('user_servers', 3, 'server_id', 'uuid'),
('user_servers', 4, 'name', 'character varying(255)'),
('user_servers', 5, 'display_name', 'character varying(255)'),
('user_servers', 6, 'catalog_type', 'character varying(50)'),
('user_servers', 7, 'category', 'character varying(100)'),
('user_servers', 8, 'is_active', 'boolean'),
('user_servers', 9, 'enabled', 'boolean'),
('user_servers', 10, 'container_state', 'character varying(50)'),
('user_servers', 11, 'last_state_change', 'timestamp with time zone'),
('user_servers', 12, 'restart_requested_at', 'timestamp with time zone'),
('user_servers', 13, 'config_metadata', 'jsonb'),
('user_servers', 14, 'has_secret', 'boolean'),
('user_servers', 15, 'created_at', 'timestamp with time zone'),
('user_servers', 16, 'updated_at', 'timestamp with time zone'),
('app_reach', 1, 'user_id', 'uuid'),
('app_reach', 2, 'user_ids', 'uuid[]'),
('app_reach', 3, 'everyone_from', 'uuid'),
('monitor_active_sessions', 1, 'user_id', 'uuid'),
('monitor_active_sessions', 2, 'session_count', 'bigint'),
('monitor_active_sessions', 3, 'last_seen', 'timestamp with time zone'),
('monitor_container_status', 1, 'container_state', 'character varying(50)'),
('monitor_container_status', 2, 'count', 'bigint'),
('monitor_audit_summary', 1, 'action', 'character varying(100)'),
('monitor_audit_summary', 2, 'count', 'bigint'),
('monitor_audit_summary', 3, 'hour', 'timestamp with time zone'),
('monitor_encryption_keys', 1, 'kid', 'text'),
('monitor_encryption_keys', 2, 'enc', 'text'),
('monitor_encryption_keys', 3, 'bound', 'boolean'),
('monitor_encryption_keys', 4, 'count', 'bigint');

SELECT set_eq(
    $$
    SELECT c.relname::text, a.attnum::integer, a.attname::text, format_type(a.atttypid, a.atttypmod)
    FROM pg_class AS c
    INNER JOIN pg_attribute AS a ON a.attrelid = c.oid
    INNER JOIN pg_roles AS o ON o.oid = c.relowner
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'v' AND o.rolname IN ('mcp_admin', 'portal_api')
    $$,
    'TABLE expected',
    'every view has its columns, and there is no other view'
);
SELECT set_eq(
    $$
    SELECT c.relname::text
    FROM pg_class AS c
    WHERE
        c.relnamespace = 'public'::regnamespace
        AND c.relkind = 'v'
        AND c.reloptions @> ARRAY['security_invoker=true']
    $$,
    ARRAY['user_dashboard', 'server_statistics', 'user_servers'],
    'the views of services read with the rights of whoever asks'
);
SELECT set_eq(
    $$
    SELECT c.relname::text
    FROM pg_class AS c
    WHERE
        c.relnamespace = 'public'::regnamespace
        AND c.relkind = 'v'
        AND c.reloptions @> ARRAY['security_barrier=true']
    $$,
    ARRAY[
        'app_reach',
        'monitor_active_sessions', 'monitor_container_status', 'monitor_audit_summary',
        'monitor_encryption_keys', 'job_status'
    ],
    'the views with their owner''s rights keep filtered rows from a reader''s functions'
);
SELECT is_empty(
    $$
    SELECT e.view_name
    FROM expected AS e
    WHERE obj_description(format('public.%I', e.view_name)::regclass, 'pg_class') IS NULL
    $$,
    'every view says what it shows'
);
SELECT is_empty(
    $$
    SELECT e.view_name, e.column_name
    FROM expected AS e
    WHERE col_description(format('public.%I', e.view_name)::regclass, e.position) IS NULL
    $$,
    'every column of a view says what it is'
);

SELECT finish();
ROLLBACK;
