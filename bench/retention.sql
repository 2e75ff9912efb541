-- What the benchmark of retention fills and does.

-- name: users
INSERT INTO public.users (azure_oid, email, role)
SELECT
    'user ' || n,
    'user' || n || '@example.org',
    'standard_user'
FROM generate_series(1, 10000) AS n

-- name: trail
INSERT INTO public.audit_logs (user_id, action, resource_type, details, ip_address, user_agent, timestamp)
SELECT
    u.ids[1 + mod(n, 10000)],
    (ARRAY['login', 'logout', 'server_enabled', 'config_updated'])[1 + mod(n, 4)],
    'session',
    '{"source": "bench"}',
    '192.0.2.1',
    'a browser of an ordinary length, with a version and a platform',
    %(since)s::timestamptz + (%(until)s::timestamptz - %(since)s::timestamptz) * (n::float8 / %(rows)s)
FROM generate_series(0, %(rows)s - 1) AS n
CROSS JOIN (SELECT array_agg(id) AS ids FROM public.users) AS u

-- name: sessions
INSERT INTO public.user_sessions (user_id, session_token, refresh_token, expires_at)
SELECT
    u.ids[1 + mod(n, 10000)],
    encode(sha256(int8send(n)), 'hex'),
    encode(sha256(int8send(-n)), 'hex'),
    CASE WHEN mod(n, 2) = 0 THEN now() - interval '1 day' ELSE now() + interval '1 day' END
FROM generate_series(1, %(rows)s) AS n
CROSS JOIN (SELECT array_agg(id) AS ids FROM public.users) AS u

-- name: writer
SELECT public.create_audit_log(NULL, 'login', 'session', NULL, '{"source": "bench"}', '192.0.2.1', 'a browser');

-- name: delete_trail
DELETE FROM public.audit_logs WHERE timestamp < CURRENT_TIMESTAMP - interval '30 days'

-- name: delete_sessions
DELETE FROM public.user_sessions
WHERE
    expires_at < CURRENT_TIMESTAMP
    OR (last_activity < CURRENT_TIMESTAMP - interval '30 minutes' AND is_active = true)

-- name: let_delete
SELECT set_config('portal.audit_retention', pg_current_xact_id()::text, true)
