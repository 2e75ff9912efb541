-- What the engine says around the statements of a migration.

-- name: try_lock
SELECT pg_try_advisory_lock(%(key)s) AS held

-- name: unlock
SELECT pg_advisory_unlock(%(key)s)

-- name: holds_lock
SELECT
    pg_backend_pid() AS pid,
    EXISTS (
        SELECT FROM pg_locks AS l
        WHERE
            l.locktype = 'advisory'
            AND l.pid = pg_backend_pid()
            AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
            AND ((l.classid::bigint << 32) | l.objid::bigint) = %(key)s
            AND l.objsubid = 1
    ) AS held

-- name: lock_holder
SELECT
    a.pid,
    a.usename AS username,
    a.application_name,
    host(a.client_addr) AS address,
    extract(epoch FROM clock_timestamp() - a.backend_start)::float8 AS seconds
FROM pg_locks AS l
INNER JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE
    l.locktype = 'advisory'
    AND l.granted
    AND l.database = (SELECT d.oid FROM pg_database AS d WHERE d.datname = current_database())
    AND ((l.classid::bigint << 32) | l.objid::bigint) = %(key)s
    AND l.objsubid = 1

-- name: forget_session
RESET ALL;
DISCARD TEMP

-- name: prepare_session
SELECT
    -- A client that dies must not leave its statement, and with it the lock, running on the server.
    set_config('client_connection_check_interval', '1s', false),
    set_config('tcp_keepalives_idle', '30', false),
    set_config('tcp_keepalives_interval', '10', false),
    set_config('tcp_keepalives_count', '3', false),
    set_config('statement_timeout', '0', false),
    set_config('idle_in_transaction_session_timeout', '0', false),
    set_config('idle_session_timeout', '0', false),
    set_config('default_transaction_read_only', 'off', false),
    set_config('default_transaction_isolation', 'read committed', false),
    -- What we report as applied must survive a crash of the server.
    set_config('synchronous_commit', 'on', false),
    -- The same literals mean the same in every session.
    set_config('client_encoding', 'UTF8', false),
    set_config('timezone', 'UTC', false),
    set_config('datestyle', 'ISO, MDY', false),
    set_config('intervalstyle', 'postgres', false),
    set_config('standard_conforming_strings', 'on', false),
    set_config('row_security', 'on', false),
    set_config('check_function_bodies', 'on', false),
    set_config('default_table_access_method', 'heap', false),
    set_config('default_tablespace', '', false),
    set_config('search_path', 'public, pg_temp', false),
    set_config('lock_timeout', %(lock_timeout)s, false),
    set_config('role', %(owner)s, false)

-- name: prepare_transaction
SELECT
    set_config('search_path', 'public, pg_temp', true),
    set_config('lock_timeout', %(lock_timeout)s, true),
    set_config('statement_timeout', '0', true),
    set_config('role', %(owner)s, true)

-- name: check_deferred
SET CONSTRAINTS ALL IMMEDIATE

-- name: drop_index
DROP INDEX CONCURRENTLY {index}

-- name: no_lock_timeout
SET lock_timeout = 0

-- name: as_login
SELECT set_config('role', 'none', true)

-- name: blockers
SELECT
    a.pid,
    coalesce(a.usename, a.backend_type) AS username,
    a.application_name,
    a.state,
    extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS seconds
FROM pg_locks AS l
INNER JOIN pg_stat_activity AS a ON a.pid = l.pid
WHERE
    l.granted
    AND l.pid <> pg_backend_pid()
    AND l.relation = any(
        SELECT to_regclass(wanted.name)::oid FROM unnest(%(relations)s::text[]) AS wanted (name)
    )
GROUP BY a.pid, a.usename, a.backend_type, a.application_name, a.state, a.xact_start
ORDER BY a.xact_start
LIMIT 3

-- name: holding_up
SELECT
    a.pid,
    coalesce(a.usename, a.backend_type) AS username,
    a.application_name,
    a.state,
    extract(epoch FROM clock_timestamp() - a.xact_start)::float8 AS seconds
FROM pg_stat_activity AS a
WHERE a.pid = any(pg_blocking_pids(%(pid)s))
ORDER BY a.xact_start
LIMIT 3

-- name: index_state
SELECT i.indisvalid AS valid, pg_get_indexdef(i.indexrelid) AS definition
FROM pg_index AS i
WHERE i.indexrelid = to_regclass(%(name)s)
