-- The rows that bench.redundant_indexes fills the tables with, and those that each run inserts.

-- name: users
SELECT
    gen_random_uuid()::text AS azure_oid,
    md5(g::text) || '@example.org' AS email,
    CASE
        WHEN g %% 1000 = 0 THEN 'super_admin'
        WHEN g %% 100 = 0 THEN 'team_admin'
        ELSE 'standard_user'
    END AS role,
    g %% 20 <> 0 AS is_active
FROM generate_series(1, %(rows)s) AS g

-- name: mcp_servers
SELECT
    'server-' || gen_random_uuid() AS name,
    'example/server:1' AS image,
    CASE WHEN g %% 10 = 0 THEN 'predefined' ELSE 'custom' END AS catalog_type
FROM generate_series(1, %(rows)s) AS g

-- name: user_server_configs
SELECT
    u.id AS user_id,
    s.id AS server_id,
    s.n %% 3 = 0 AS enabled,
    CASE WHEN s.n %% 6 = 0 THEN 'running' WHEN s.n %% 3 = 0 THEN 'stopped' END AS container_state
FROM (SELECT id FROM public.users ORDER BY md5(id::text) LIMIT %(rows)s / 10) AS u
CROSS JOIN (
    SELECT
        id,
        row_number() OVER (ORDER BY id) AS n
    FROM public.mcp_servers
    ORDER BY id
    LIMIT 10 OFFSET %(skip)s
) AS s

-- name: user_sessions
SELECT
    u.id AS user_id,
    encode(sha256(gen_random_uuid()::text::bytea), 'hex') AS session_token,
    encode(sha256(gen_random_uuid()::text::bytea), 'hex') AS refresh_token,
    CURRENT_TIMESTAMP + interval '1 day' AS expires_at,
    g.n %% 3 <> 0 AS is_active
FROM (SELECT id FROM public.users ORDER BY md5(id::text) LIMIT %(rows)s / 10) AS u
CROSS JOIN generate_series(1, 10) AS g (n)

-- name: audit_logs
SELECT
    u.id AS user_id,
    (ARRAY['login', 'logout', 'server_enabled', 'config_updated'])[g.n %% 4 + 1] AS action,
    'server' AS resource_type
FROM (SELECT id FROM public.users ORDER BY md5(id::text) LIMIT %(rows)s / 10) AS u
CROSS JOIN generate_series(1, 10) AS g (n)

-- name: make
CREATE TEMPORARY TABLE {batch} AS {rows}

-- name: insert
INSERT INTO {table} ({columns}) SELECT {columns} FROM {batch}

-- name: size
SELECT
    sum(pg_relation_size(i.relid)) AS bytes,
    (SELECT count(*) FROM {table}) AS rows,
    sum(pg_relation_size(i.relid)) / (
        SELECT sum(pg_indexes_size(t.relid))
        FROM (
            SELECT relid FROM pg_partition_tree({name})
            UNION
            SELECT {name}::regclass
        ) AS t
    ) AS share
FROM (
    SELECT relid FROM pg_partition_tree({index})
    UNION
    SELECT {index}::regclass
) AS i

-- name: place
SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn AS bytes
