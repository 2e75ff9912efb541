-- What `python -m bench.api` fills the tables with, and what pgbench runs.

-- name: users
-- Users with a session each, whose token is the user's number, and a configuration of each of two servers; the first
-- user is a super_admin. last_activity lies ahead, so that no request has to note it: that happens once a minute. The
-- last users, for bulk_enable, have a configuration of each of fifty servers, all off.
SET session_replication_role = replica;
INSERT INTO public.users (id, azure_oid, email, display_name, role)
SELECT
    md5('user ' || n)::uuid, 'oid ' || n, 'user' || n || '@example.org', 'User ' || n,
    CASE n WHEN 1 THEN 'super_admin' ELSE 'standard_user' END
FROM generate_series(1, %(users)s::int) AS n;
INSERT INTO public.user_sessions
    (user_id, session_token, refresh_token, ip_address, user_agent, last_activity, expires_at, renewable_until)
SELECT
    md5('user ' || n)::uuid, encode(sha256(n::text::bytea), 'hex'), encode(sha256(('refresh ' || n)::bytea), 'hex'),
    '192.0.2.1', 'Mozilla/5.0', CURRENT_TIMESTAMP + interval '1 day', CURRENT_TIMESTAMP + interval '1 day',
    CURRENT_TIMESTAMP + interval '30 days'
FROM generate_series(1, %(users)s::int) AS n;
INSERT INTO public.mcp_servers (id, name, image, catalog_type)
SELECT md5('server ' || n)::uuid, 'server ' || n, 'portal/server', 'predefined' FROM generate_series(1, 50) AS n;
INSERT INTO public.user_server_configs (id, user_id, server_id, enabled, container_state)
SELECT
    md5('config ' || u || ' ' || s)::uuid, md5('user ' || u)::uuid, md5('server ' || s)::uuid,
    s = 2 AND u <= %(users)s::int - %(bulk)s::int, CASE WHEN s = 2 THEN 'running' END
FROM generate_series(1, %(users)s::int) AS u
CROSS JOIN LATERAL generate_series(1, CASE WHEN u > %(users)s::int - %(bulk)s::int THEN 50 ELSE 2 END) AS s;
SET session_replication_role = origin;
-- The bare side: a role that row security lets pass.
CREATE ROLE bench_bare BYPASSRLS;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO bench_bare;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO bench_bare

-- name: trail
-- A month of the trail, a row every so often; one in a hundred is the second user's, one in ten thousand of an action
-- that is rare. The table is filled before it becomes a partition: its indexes are then made all at once.
SET maintenance_work_mem = '512MB';
CREATE TABLE public.{table} (LIKE public.audit_logs INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
ALTER TABLE public.{table} ENABLE ROW LEVEL SECURITY;
INSERT INTO public.{table}
    (user_id, action, resource_type, resource_id, details, ip_address, user_agent, session_id, timestamp)
SELECT
    md5('user ' || CASE WHEN n %% 100 = 0 THEN 2 ELSE (n * 7919) %% %(users)s::bigint + 1 END)::uuid,
    CASE
        WHEN n %% 10000 = 7 THEN 'role_changed'
        ELSE (ARRAY['login', 'logout', 'server_enabled', 'config_updated'])[n %% 4 + 1]
    END,
    'server', md5('server ' || n %% 50 + 1)::uuid, '{{}}', '192.0.2.1', 'Mozilla/5.0', 'a session',
    %(from)s::timestamptz + (%(to)s::timestamptz - %(from)s::timestamptz) * (n / %(rows)s::float)
FROM generate_series(0, %(rows)s::bigint - 1) AS n;
ALTER TABLE public.audit_logs ATTACH PARTITION public.{table} FOR VALUES FROM (%(from)s) TO (%(to)s)

-- name: months
SELECT
    to_char(m.month, '"audit_logs_"YYYY_MM') AS name, m.month AS since, m.month + interval '1 month' AS until
FROM (
    SELECT date_trunc('month', CURRENT_TIMESTAMP) - make_interval(months => g.ago) AS month
    FROM generate_series(1, %(months)s::int) AS g (ago)
) AS m

-- name: reset
UPDATE public.user_server_configs SET enabled = false WHERE user_id IN (
    SELECT md5('user ' || n)::uuid FROM generate_series(%(users)s::int - %(bulk)s::int + 1, %(users)s::int) AS n
);
VACUUM (ANALYZE) public.user_server_configs;
CHECKPOINT

-- name: feed
DO $$
DECLARE
    v_name name;
BEGIN
    FOR v_name IN
        SELECT t.tgname FROM pg_trigger AS t
        WHERE t.tgrelid = 'public.user_server_configs'::regclass AND t.tgname LIKE 'notify\_%'
    LOOP
        EXECUTE format('ALTER TABLE public.user_server_configs {does} TRIGGER %I', v_name);
    END LOOP;
END;
$$

-- name: alone
-- A connection serves one user for fifty statements, then another.
\set turn mod(:i, 50)
\set i :i + 1
\if :turn = 0
\set n {who}
SELECT
    set_config('app.current_user_id', md5('user ' || :n)::uuid::text, false),
    set_config('app.ip_address', '192.0.2.1', false),
    set_config('app.user_agent', 'Mozilla/5.0', false),
    set_config('app.session_id', 'a session', false);
\endif
\set at random(:oldest, :newest)
{query}

-- name: in_transaction
\set n {who}
\set i :i + 1
\set at random(:oldest, :newest)
BEGIN;
SELECT public.set_app_context(md5('user ' || :n)::uuid, '192.0.2.1', 'Mozilla/5.0', 'a session');
{query}
COMMIT;

-- name: request
\set n {who}
BEGIN;
{query}
COMMIT;

-- name: statement
\set n {who}
{query}

-- name: offset
SELECT * FROM public.audit_logs ORDER BY timestamp DESC, id DESC LIMIT 50 OFFSET %(offset)s

-- name: bare_session
SELECT s.user_id, s.id, u.role, s.expires_at
FROM public.user_sessions AS s
INNER JOIN public.users AS u ON s.user_id = u.id
WHERE
    s.session_token = encode(sha256(convert_to(:n, 'UTF8')), 'hex')
    AND s.expires_at > CURRENT_TIMESTAMP AND s.is_active AND u.is_active;

-- name: bare_session_and_context
SELECT s.user_id, s.id, u.role, s.expires_at
FROM public.user_sessions AS s
INNER JOIN public.users AS u ON s.user_id = u.id
WHERE
    s.session_token = encode(sha256(convert_to(:n, 'UTF8')), 'hex')
    AND s.expires_at > CURRENT_TIMESTAMP AND s.is_active AND u.is_active;
SELECT public.set_app_context(md5('user ' || :n)::uuid, '192.0.2.1', 'Mozilla/5.0', 'a session');

-- name: authenticate
SELECT * FROM public.authenticate(:n, '192.0.2.1', 'Mozilla/5.0');

-- name: bare_entry
INSERT INTO public.audit_logs
    (id, user_id, action, resource_type, resource_id, details, ip_address, user_agent, session_id)
VALUES (
    public.uuid_generate_v4(), md5('user ' || :n)::uuid, 'config_exported', 'report', NULL, '{"rows": 3}',
    '192.0.2.1', 'Mozilla/5.0', 'a session'
);

-- name: create_audit_log
SELECT public.create_audit_log(
    md5('user ' || :n)::uuid, 'config_exported', 'report', NULL, '{"rows": 3}', NULL, NULL
);

-- name: single_updates
UPDATE public.user_server_configs SET enabled = true
WHERE user_id = md5('user ' || :n)::uuid AND server_id = '{server}';

-- name: bulk_enable
SELECT * FROM public.bulk_enable('{servers}');

-- name: dashboard
SELECT * FROM public.user_dashboard WHERE user_id = md5('user ' || :n)::uuid;

-- name: page_of_all
SELECT * FROM public.read_audit_log(p_before => to_timestamp(:at));

-- name: page_of_user
SELECT * FROM public.read_audit_log(p_user_id => md5('user ' || 2)::uuid, p_before => to_timestamp(:at));

-- name: page_of_own
SELECT * FROM public.read_audit_log(p_before => to_timestamp(:at));

-- name: page_of_action
SELECT * FROM public.read_audit_log(p_action => 'login', p_before => to_timestamp(:at));

-- name: page_of_rare_action
SELECT * FROM public.read_audit_log(p_action => 'role_changed', p_before => to_timestamp(:at));

-- name: page_of_server
SELECT * FROM public.read_audit_log(p_resource_id => '{server}', p_before => to_timestamp(:at));

-- name: change
UPDATE public.user_server_configs SET enabled = NOT enabled WHERE id = md5('config ' || :n || ' 1')::uuid;
