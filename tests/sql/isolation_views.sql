-- Through the views a user counts what they may see, an admin everyone, the monitor all, unread.
\ir begin.psql
\ir tenants.psql
SELECT plan(14);

UPDATE public.user_server_configs SET container_id = 'c';
INSERT INTO public.user_sessions (user_id, session_token, expires_at, is_active) VALUES
('a0000000-0000-0000-0000-000000000001', 'expired', CURRENT_TIMESTAMP - interval '1 second', true),
('a0000000-0000-0000-0000-000000000001', 'ended', 'infinity', false);
INSERT INTO public.audit_logs (action, timestamp) VALUES
('config_exported', CURRENT_TIMESTAMP),
('config_exported', CURRENT_TIMESTAMP - interval '25 hours');

-- As alpha
SET LOCAL ROLE portal_app;
SET LOCAL app.current_user_id = 'a0000000-0000-0000-0000-000000000001';
SELECT results_eq(
    $$SELECT email::text, total_servers, enabled_servers, running_servers FROM public.user_dashboard$$,
    $$VALUES ('alpha@example.org', 1::bigint, 1::bigint, 1::bigint)$$,
    'alpha''s dashboard shows alpha alone'
);
SELECT results_eq(
    $$SELECT total_users, active_users, running_instances FROM public.server_statistics
    WHERE name = 'shared-tool'$$,
    'VALUES (1::bigint, 1::bigint, 1::bigint)', 'alpha''s statistics count alpha alone'
);

-- As sam
SET LOCAL app.current_user_id = 'f0000000-0000-0000-0000-000000000001';
SELECT is(
    (SELECT count(*) FROM public.user_dashboard WHERE email LIKE '%@example.org'), 6::bigint,
    'sam''s dashboard shows everyone'
);
SELECT results_eq(
    $$SELECT total_users, active_users, running_instances FROM public.server_statistics
    WHERE name = 'shared-tool'$$,
    'VALUES (5::bigint, 3::bigint, 3::bigint)', 'sam''s statistics count everyone'
);

-- As dora, deactivated, and without a context
SET LOCAL app.current_user_id = 'd0000000-0000-0000-0000-000000000001';
SELECT is_empty('SELECT 1 FROM public.user_dashboard', 'dora, deactivated, has no dashboard');
SET LOCAL app.current_user_id = '';
SELECT is_empty('SELECT 1 FROM public.user_dashboard', 'nobody has a dashboard without a context');
SELECT is_empty('SELECT 1 FROM public.server_statistics', 'nor statistics');
SELECT throws_ok(
    'SELECT 1 FROM public.monitor_active_sessions', '42501', NULL, 'a service reads no monitoring view'
);

-- As the monitor, without a context
SET LOCAL ROLE portal_monitor;
SELECT results_eq(
    $$SELECT session_count FROM public.monitor_active_sessions
    WHERE user_id = 'a0000000-0000-0000-0000-000000000001'$$,
    ARRAY[1]::bigint[], 'active sessions leave out what has expired or was ended'
);
SELECT results_eq(
    $$SELECT count >= 3 FROM public.monitor_container_status WHERE container_state = 'running'$$,
    ARRAY[true], 'container status counts every tenant''s containers'
);
SELECT results_eq(
    $$SELECT count, hour FROM public.monitor_audit_summary WHERE action = 'config_exported'$$,
    $$VALUES (1::bigint, date_trunc('hour', CURRENT_TIMESTAMP))$$,
    'the audit summary counts the last 24 hours by the hour'
);
SELECT throws_ok('SELECT 1 FROM public.users', '42501', NULL, 'the monitor reads no user');
SELECT throws_ok('SELECT 1 FROM public.audit_logs', '42501', NULL, 'the monitor reads no audit entry');
SELECT throws_ok('SELECT 1 FROM public.user_dashboard', '42501', NULL, 'the monitor reads no dashboard');

SELECT finish();
ROLLBACK;
