-- Cleanup removes for everyone what the settings say, a bounded number a call, and counts it.
\ir begin.psql
\ir tenants.psql
SELECT plan(50);

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

-- With a moved clock, across a change of the clocks in the server's time zone
SET LOCAL timezone = 'America/New_York';
SELECT is(
    public.remove_expired_sessions(CURRENT_TIMESTAMP - interval '1 day'), 0,
    'a clock that jumps back removes no session'
);
DELETE FROM public.user_sessions;
INSERT INTO public.user_sessions (user_id, session_token, expires_at, last_activity)
SELECT
    'a0000000-0000-0000-0000-000000000001',
    'idle since ' || t,
    'infinity',
    t::timestamptz
FROM unnest(ARRAY['2026-11-01 05:29:59.999999+00', '2026-11-01 05:30:00+00']) AS t;
SELECT is(
    public.remove_expired_sessions('2026-11-01 06:00:00+00'), 1,
    'thirty minutes are thirty minutes while the clocks go back'
);
DELETE FROM public.user_sessions;
SET LOCAL timezone = 'UTC';

INSERT INTO public.user_sessions (user_id, session_token, expires_at)
SELECT 'a0000000-0000-0000-0000-000000000001', 'n' || n, '2001-01-01'
FROM generate_series(1, 10) AS n;
SET LOCAL ROLE portal_maintenance;
SET LOCAL portal.cleanup_limit = '4';
SELECT is(public.cleanup_expired_sessions(), 4, 'a call removes no more than the limit');
SELECT is(public.cleanup_expired_sessions(), 4, 'the next carries on');
SELECT is(public.cleanup_expired_sessions(), 2, 'and the next takes the rest');
SET LOCAL portal.cleanup_limit = '';

-- Audit entries: in the default partition, in this month's and in old ones
RESET ROLE;
SET LOCAL app.current_user_id = '';
INSERT INTO public.audit_logs (action, user_agent, timestamp)
VALUES
('login', 'now', CURRENT_TIMESTAMP),
('login', 'on the edge', CURRENT_TIMESTAMP - interval '720 hours'),
('login', 'past it', CURRENT_TIMESTAMP - interval '720 hours 1 microsecond'),
('login', 'long ago', '2024-01-15'),
('login', 'long ago too', '2024-01-31 23:59:59.999999+00'),
('login', 'leap day', '2024-02-29 23:59:59+00'),
('login', 'before all partitions', '1999-12-31'),
('login', 'before all partitions', '1999-12-31'),
('login', 'before all partitions', '1999-12-31');
SET LOCAL ROLE portal_maintenance;
SET LOCAL portal.cleanup_limit = '3';
SELECT is(public.cleanup_old_audit_logs(), 2, 'a call drops one partition and counts its rows');
RESET ROLE;
SELECT hasnt_table('public'::name, 'audit_logs_2024_01'::name, 'the partition is gone');
SELECT has_table('public'::name, 'audit_logs_2024_02'::name, 'and the next one is not yet');
SET LOCAL ROLE portal_maintenance;
SELECT is(public.cleanup_old_audit_logs(), 1, 'the next call drops the next');
SELECT is(public.cleanup_old_audit_logs(), 3, 'a call deletes no more than the limit');
SET LOCAL portal.cleanup_limit = '';
SELECT is(public.cleanup_old_audit_logs(), 1, 'the next carries on');
SELECT is(public.cleanup_old_audit_logs(), 0, 'and then there is nothing left');
RESET ROLE;
SELECT set_eq(
    $$SELECT user_agent FROM public.audit_logs WHERE action = 'login' AND user_agent IS NOT NULL$$,
    ARRAY['now', 'on the edge'], 'what is not older than 30 days stays'
);
SELECT has_table('public'::name, 'audit_logs_default'::name, 'the default partition is never dropped');

-- With a moved clock, on a server whose clocks change: five months and their edges
DO $$
BEGIN
    PERFORM public.ensure_audit_partitions();
END;
$$;
SET LOCAL timezone = 'Europe/Berlin';
SELECT is(public.ensure_audit_partitions(4, '2028-01-31 23:59:59.999999+00'), 5, 'five months are made');
INSERT INTO public.audit_logs (action, user_agent, timestamp)
SELECT
    'login',
    'edge of ' || t,
    t::timestamptz
FROM unnest(
    ARRAY[
        '2028-01-01 00:00:00+00', '2028-01-31 23:59:59.999999+00', '2028-02-01 00:00:00+00',
        '2028-02-29 23:59:59.999999+00', '2028-03-01 00:00:00+00', '2028-03-26 01:00:00+00',
        '2028-03-31 23:59:59.999999+00', '2028-04-01 00:00:00+00'
    ]
) AS t;
CREATE FUNCTION tap.kept() RETURNS bigint LANGUAGE sql
AS $$SELECT count(*) FROM public.audit_logs WHERE user_agent LIKE 'edge of %'$$;
CREATE FUNCTION tap.until_done(p_now timestamptz) RETURNS bigint LANGUAGE plpgsql
AS $$
DECLARE
    v_all   bigint := 0;
    v_count integer;
BEGIN
    LOOP
        v_count := public.drop_old_audit_logs(p_now);
        EXIT WHEN v_count = 0;
        v_all := v_all + v_count;
    END LOOP;
    RETURN v_all;
END;
$$;
-- What is older than the clock of this test goes first
DO $$
BEGIN
    PERFORM tap.until_done('2028-01-31');
END;
$$;
SELECT is(tap.until_done('2028-01-31 00:00:00+00'), 0::bigint, 'after exactly 30 days the first stays');
SELECT is(
    tap.until_done('2028-01-31 00:00:00.000001+00'), 1::bigint, 'and goes a microsecond later'
);
SELECT has_table('public'::name, 'audit_logs_2028_01'::name, 'its month stays, for its end is young');
SELECT is(
    tap.until_done('2028-03-01 23:59:59.999999+00'), 0::bigint,
    'the last of January is kept for 30 days, which end in March of a leap year'
);
SELECT is(tap.until_done('2028-03-02 00:00:00+00'), 1::bigint, 'then January is dropped');
SELECT hasnt_table('public'::name, 'audit_logs_2028_01'::name, 'whole');
SELECT is(tap.kept(), 6::bigint, 'and nothing else');
SELECT is(
    tap.until_done('2028-03-30 23:59:59.999999+00'), 1::bigint,
    'of leap February its first day is deleted at the boundary'
);
SELECT has_table('public'::name, 'audit_logs_2028_02'::name, 'and the month is still there');
SELECT is(tap.until_done('2028-03-31 00:00:00+00'), 1::bigint, 'its 29th goes with the month');
SELECT hasnt_table('public'::name, 'audit_logs_2028_02'::name, 'at midnight by UTC');
SELECT is(
    tap.until_done('2028-03-01 00:00:00+00'), 0::bigint, 'a clock that jumps back removes nothing'
);
SELECT is(tap.kept(), 4::bigint, 'and what was there is there');
SELECT is(
    tap.until_done('2028-04-25 01:00:00+00'), 1::bigint,
    'across the change of the clocks 30 days are 720 hours'
);
SELECT is(tap.until_done('2028-04-25 01:00:00.000001+00'), 1::bigint, 'to the microsecond');
SELECT is(
    tap.until_done('2028-07-30 00:00:00+00'), 2::bigint,
    'a job that did not run for 90 days catches up, with the true count'
);
SELECT is_empty(
    $$SELECT p.partition FROM public.audit_partitions() AS p
    WHERE p.starts BETWEEN '2028-01-01' AND '2028-05-31'$$,
    'and drops the months that were empty too'
);
SELECT is(tap.kept(), 0::bigint, 'all is gone');

-- The setting
UPDATE public.settings SET value = '365 days' WHERE name = 'audit_retention';
SELECT is(public.ensure_audit_partitions(0, '2029-06-15'), 1, 'a month of the year after');
INSERT INTO public.audit_logs (action, user_agent, timestamp) VALUES ('login', 'edge of a year', '2029-06-15');
SELECT is(tap.until_done('2030-06-15'), 0::bigint, 'with a year of retention a year is kept');
DELETE FROM public.settings WHERE name = 'audit_retention';
SELECT is(tap.until_done('2040-01-01'), 0::bigint, 'a setting that is missing removes nothing');
SELECT is(tap.kept(), 1::bigint, 'and the entry is there');
SELECT throws_ok(
    format(
        'INSERT INTO public.settings (name, value, description) VALUES (''audit_retention'', %L, ''x'')', v
    ),
    '23514', NULL, format('a retention of %s is refused', v)
)
FROM unnest(ARRAY['0 days', '-1 days', 'forever']) AS v;
SET LOCAL timezone = 'UTC';

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
SET LOCAL ROLE portal_maintenance;
SELECT throws_ok(
    format('SELECT public.%I(%L)', f, 'infinity'), '42501', NULL,
    format('portal_maintenance does not choose the moment of %s', f)
)
FROM unnest(ARRAY['drop_old_audit_logs', 'remove_expired_sessions']) AS f;

SELECT finish();
ROLLBACK;
