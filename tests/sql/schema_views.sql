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
('monitor_encryption_keys', 4, 'count', 'bigint'),
('monitor_audit_partitions', 1, 'partition_name', 'text'),
('monitor_audit_partitions', 2, 'starts_at', 'timestamp with time zone'),
('monitor_audit_partitions', 3, 'ends_at', 'timestamp with time zone'),
('monitor_audit_partitions', 4, 'estimated_rows', 'bigint'),
('monitor_audit_partitions', 5, 'bytes', 'bigint'),
('monitor_audit_runway', 1, 'partitioned_until', 'timestamp with time zone'),
('monitor_audit_runway', 2, 'days_left', 'integer'),
('monitor_audit_runway', 3, 'rows_in_default', 'bigint'),
('monitor_container_reasons', 1, 'container_state', 'character varying(50)'),
('monitor_container_reasons', 2, 'reason', 'character varying(50)'),
('monitor_container_reasons', 3, 'count', 'bigint'),
('monitor_container_reasons', 4, 'retrying', 'bigint'),
('monitor_container_reasons', 5, 'oldest_change', 'timestamp with time zone'),
('monitor_connections', 1, 'connections', 'bigint'),
('monitor_connections', 2, 'connection_limit', 'integer'),
('monitor_connections', 3, 'server_connections', 'bigint'),
('monitor_connections', 4, 'server_limit', 'integer'),
('monitor_connections', 5, 'longest_transaction_seconds', 'double precision'),
('monitor_connections', 6, 'longest_idle_in_transaction_seconds', 'double precision'),
('monitor_connections', 7, 'waiting_for_locks', 'bigint'),
('monitor_tables', 1, 'table_name', 'text'),
('monitor_tables', 2, 'live_rows', 'bigint'),
('monitor_tables', 3, 'dead_rows', 'bigint'),
('monitor_tables', 4, 'table_bytes', 'bigint'),
('monitor_tables', 5, 'index_bytes', 'bigint'),
('monitor_tables', 6, 'dead_bytes', 'bigint'),
('monitor_tables', 7, 'sequential_scans', 'bigint'),
('monitor_tables', 8, 'rows_read_in_sequence', 'bigint'),
('monitor_tables', 9, 'index_scans', 'bigint'),
('monitor_tables', 10, 'last_vacuum', 'timestamp with time zone'),
('monitor_tables', 11, 'last_analyze', 'timestamp with time zone'),
('monitor_indexes', 1, 'index_name', 'text'),
('monitor_indexes', 2, 'table_name', 'text'),
('monitor_indexes', 3, 'scans', 'bigint'),
('monitor_indexes', 4, 'bytes', 'bigint'),
('monitor_indexes', 5, 'is_unique', 'boolean'),
('monitor_indexes', 6, 'is_valid', 'boolean');

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
        'job_status', 'monitor_encryption_keys', 'monitor_audit_partitions', 'monitor_audit_runway',
        'monitor_container_reasons', 'monitor_connections', 'monitor_tables', 'monitor_indexes'
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
