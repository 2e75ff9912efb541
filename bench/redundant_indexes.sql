-- What bench.redundant_indexes fills the tables with, and the rows that each run inserts.

-- name: users
INSERT INTO public.users (azure_oid, email, role, is_active)
SELECT
    gen_random_uuid()::text,
    md5(g::text) || '@example.org',
    CASE
        WHEN g %% 1000 = 0 THEN 'super_admin'
        WHEN g %% 100 = 0 THEN 'team_admin'
        ELSE 'standard_user'
    END,
    g %% 20 <> 0
FROM generate_series(1, %(rows)s) AS g

-- name: mcp_servers
INSERT INTO public.mcp_servers (name, image, catalog_type)
SELECT
    'server-' || gen_random_uuid(),
    'example/server:1',
    CASE WHEN g %% 10 = 0 THEN 'predefined' ELSE 'custom' END
FROM generate_series(1, %(rows)s) AS g

-- name: user_server_configs
INSERT INTO public.user_server_configs (user_id, server_id, enabled, container_state)
SELECT
    u.id,
    s.id,
    s.n %% 3 = 0,
    CASE WHEN s.n %% 6 = 0 THEN 'running' WHEN s.n %% 3 = 0 THEN 'stopped' END
FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM public.users) AS u
CROSS JOIN (
    SELECT
        id,
        row_number() OVER (ORDER BY id) AS n
    FROM public.mcp_servers
    ORDER BY id
    LIMIT %(each)s OFFSET %(skip)s
) AS s
WHERE u.n <= %(rows)s / %(each)s

-- name: user_sessions
INSERT INTO public.user_sessions (user_id, session_token, refresh_token, expires_at, is_active)
SELECT
    u.id,
    encode(sha256(gen_random_uuid()::text::bytea), 'hex'),
    encode(sha256(gen_random_uuid()::text::bytea), 'hex'),
    CURRENT_TIMESTAMP + interval '1 day',
    g.n %% 3 <> 0
FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM public.users) AS u
CROSS JOIN generate_series(1, %(each)s) AS g (n)
WHERE u.n <= %(rows)s / %(each)s

-- name: audit_logs
INSERT INTO public.audit_logs (user_id, action, resource_type, details)
SELECT
    u.id,
    (ARRAY['login', 'logout', 'server_enabled', 'server_disabled', 'config_updated'])[g.n %% 5 + 1],
    'server',
    '{"by": "bench"}'
FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM public.users) AS u
CROSS JOIN generate_series(1, %(each)s) AS g (n)
WHERE u.n <= %(rows)s / %(each)s

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
