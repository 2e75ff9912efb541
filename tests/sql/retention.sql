-- Cleanup removes for everyone what the spec's times say, a bounded number a call, and counts it.
\ir begin.psql
\ir tenants.psql
SELECT plan(15);

DELETE FROM public.user_sessions;
INSERT INTO public.user_sessions (user_id, session_token, expires_at, last_activity, is_active)
SELECT
    u.id,
    t.token || ' of ' || u.azure_oid AS session_token,
    CURRENT_TIMESTAMP + t.expires AS expires_at,
    CURRENT_TIMESTAMP - t.idle AS last_activity,
    t.is_active
FROM public.users AS u
CROSS JOIN (
    VALUES
    ('in use', interval '1 day', interval '0', true),
    ('idle for 30 minutes', interval '1 day', interval '30 minutes', true),
    ('idle for longer', interval '1 day', interval '30 minutes 1 microsecond', true),
    ('ended, not expired', interval '1 day', interval '10 days', false),
    ('expires now', interval '0', interval '0', true),
    ('expired', interval '-1 microsecond', interval '0', true),
    ('ended and expired', interval '-1 microsecond', interval '10 days', false)
) AS t (token, expires, idle, is_active)
WHERE u.azure_oid IN ('alpha', 'beta');

-- As the maintenance role, with another tenant's context, which must not matter
SET LOCAL ROLE portal_maintenance;
SET LOCAL app.current_user_id = 'a0000000-0000-0000-0000-000000000001';
SELECT is(public.cleanup_expired_sessions(), 6, 'three sessions of each of two users are removed');
SELECT is(public.cleanup_expired_sessions(), 0, 'and none the second time');
RESET ROLE;
SELECT bag_eq(
    'SELECT split_part(session_token, '' of '', 1) FROM public.user_sessions',
    ARRAY[
        'in use', 'in use', 'idle for 30 minutes', 'idle for 30 minutes',
        'ended, not expired', 'ended, not expired', 'expires now', 'expires now'
    ],
    'what is in use, ended but not expired, and just on the edge stays'
);

INSERT INTO public.user_sessions (user_id, session_token, expires_at)
SELECT 'a0000000-0000-0000-0000-000000000001', 'n' || n, '2001-01-01'
FROM generate_series(1, 10) AS n;
SET LOCAL ROLE portal_maintenance;
SET LOCAL portal.cleanup_limit = '4';
SELECT is(public.cleanup_expired_sessions(), 4, 'a call removes no more than the limit');
SELECT is(public.cleanup_expired_sessions(), 4, 'the next carries on');
SELECT is(public.cleanup_expired_sessions(), 2, 'and the next takes the rest');
SET LOCAL portal.cleanup_limit = '';

-- Audit entries, in the default partition, in their month's and long ago
RESET ROLE;
SET LOCAL app.current_user_id = '';
INSERT INTO public.audit_logs (action, user_agent, timestamp)
VALUES
('login', 'now', CURRENT_TIMESTAMP),
('login', 'on the edge', CURRENT_TIMESTAMP - interval '720 hours'),
('login', 'past it', CURRENT_TIMESTAMP - interval '720 hours 1 microsecond'),
('login', 'long ago', '2024-01-15'),
('login', 'leap day', '2024-02-29 23:59:59+00'),
('login', 'before all partitions', '1999-12-31');
SET LOCAL ROLE portal_maintenance;
SET LOCAL portal.cleanup_limit = '3';
SELECT is(public.cleanup_old_audit_logs(), 3, 'a call removes no more than the limit');
SET LOCAL portal.cleanup_limit = '';
SELECT cmp_ok(public.cleanup_old_audit_logs(), '>=', 1, 'the next carries on');
SELECT is(public.cleanup_old_audit_logs(), 0, 'and then there is nothing left');
RESET ROLE;
SELECT set_eq(
    $$SELECT user_agent FROM public.audit_logs WHERE action = 'login' AND user_agent IS NOT NULL$$,
    ARRAY['now', 'on the edge'], 'what is not older than 30 days stays'
);

-- Only the maintenance role
SELECT throws_ok(
    format('SELECT public.%I()', f), '42501', NULL, format('%s may not call %s', r, f)
)
FROM (
    SELECT
        set_config('role', x.r, true) AS r,
        x.f
    FROM (
        VALUES
        ('portal_app', 'cleanup_expired_sessions'),
        ('portal_app', 'cleanup_old_audit_logs'),
        ('portal_runner', 'cleanup_expired_sessions'),
        ('portal_monitor', 'cleanup_old_audit_logs'),
        ('portal_api', 'cleanup_old_audit_logs')
    ) AS x (r, f)
    OFFSET 0
) AS a;

SELECT finish();
ROLLBACK;
