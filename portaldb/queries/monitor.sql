-- What `portaldb monitor` and `portaldb doctor` ask; a login in portal_monitor may ask all of it.

-- name: server
SELECT
    current_database()::text AS database,
    current_setting('server_version') AS version,
    pg_is_in_recovery() AS standby,
    CASE WHEN pg_is_in_recovery() THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 END
    AS replayed_seconds_ago,
    extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())::float8 AS up_seconds,
    pg_database_size(current_database()) AS bytes,
    (SELECT d.xact_commit FROM pg_stat_database AS d WHERE d.datname = current_database()) AS commits,
    (SELECT d.xact_rollback FROM pg_stat_database AS d WHERE d.datname = current_database()) AS rollbacks,
    (SELECT d.deadlocks FROM pg_stat_database AS d WHERE d.datname = current_database()) AS deadlocks

-- name: connections
SELECT c.* FROM public.monitor_connections AS c

-- name: sessions
SELECT count(*) AS users, coalesce(sum(s.session_count), 0)::int8 AS sessions, max(s.last_seen) AS last_seen
FROM public.monitor_active_sessions AS s

-- name: containers
SELECT c.container_state AS state, r.reason, coalesce(r.count, c.count) AS count
FROM public.monitor_container_status AS c
LEFT JOIN public.monitor_container_reasons AS r
    ON r.container_state IS NOT DISTINCT FROM c.container_state AND r.reason IS NOT NULL
ORDER BY 3 DESC, 1, 2

-- name: audit
SELECT a.action, sum(a.count)::int8 AS day, (sum(a.count) FILTER (WHERE a.hour = date_trunc('hour', now())))::int8 AS hour
FROM public.monitor_audit_summary AS a
GROUP BY a.action
ORDER BY 2 DESC

-- name: jobs
-- A job that never succeeded is no older than what was applied last.
SELECT
    j.name::text AS name,
    j.schedule,
    j.is_active,
    j.last_started_at,
    j.last_result::text AS last_result,
    extract(epoch FROM j.last_duration)::float8 AS last_seconds,
    coalesce(
        j.last_success_at, (SELECT max(m.started_at) FROM public._portaldb_migration AS m), clock_timestamp()
    ) AS well_until,
    clock_timestamp() AS now
FROM public.job_status AS j
ORDER BY 1

-- name: runway
SELECT r.* FROM public.monitor_audit_runway AS r

-- name: partitions
SELECT p.* FROM public.monitor_audit_partitions AS p ORDER BY p.starts_at NULLS LAST

-- name: keys
SELECT k.kid, k.enc, k.bound, k.count FROM public.monitor_encryption_keys AS k ORDER BY k.count DESC

-- name: tables
SELECT t.* FROM public.monitor_tables AS t ORDER BY t.table_bytes + t.index_bytes DESC, t.table_name LIMIT 10

-- name: indexes
-- Those that nothing has used since the statistics began, and those that were not finished.
SELECT i.* FROM public.monitor_indexes AS i
WHERE (i.scans = 0 AND NOT i.is_unique AND i.bytes > 1048576) OR NOT i.is_valid
ORDER BY i.bytes DESC
LIMIT 10

-- name: statements
-- Constants are not in the text of these; other statements, which keep theirs, are left out.
SELECT
    left(regexp_replace(s.query, '\s+', ' ', 'g'), 200) AS statement,
    s.calls,
    s.mean_exec_time AS mean_ms,
    s.total_exec_time AS total_ms
FROM public.pg_stat_statements AS s
INNER JOIN pg_database AS d ON d.oid = s.dbid
WHERE
    d.datname = current_database()
    AND (s.query ~* '^\s*(select|insert|update|delete|merge|with)\M' OR s.query = '<insufficient privilege>')
ORDER BY s.total_exec_time DESC
LIMIT 5

-- name: clock
SELECT extract(epoch FROM clock_timestamp())::float8 AS now

-- name: setting
SELECT s.name::text, s.setting, s.context::text, s.boot_val FROM pg_settings AS s WHERE s.name = ANY (%(names)s)

-- name: database
SELECT
    pg_get_userbyid(d.datdba)::text AS owner,
    pg_encoding_to_char(d.encoding)::text AS encoding,
    d.datconnlimit AS connection_limit,
    EXISTS (
        SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a WHERE a.grantee = 0
    ) AS public_may_connect,
    ARRAY(SELECT e.extname::text FROM pg_extension AS e ORDER BY 1) AS extensions,
    (SELECT c.setting FROM pg_settings AS c WHERE c.name = 'data_checksums') AS checksums
FROM pg_database AS d
WHERE d.datname = current_database()
