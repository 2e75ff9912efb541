-- Sessions: opened, shown, refreshed and ended, with tokens that are kept as digests.
\ir begin.psql
\ir tenants.psql
SELECT plan(64);

CREATE TABLE tap.opened (
    n integer, session_id uuid, session_token text, refresh_token text, expires_at timestamptz
);
CREATE FUNCTION tap.session(p_n integer) RETURNS uuid LANGUAGE sql STABLE
RETURN (SELECT session_id FROM tap.opened WHERE n = p_n);
CREATE FUNCTION tap.token(p_n integer) RETURNS text LANGUAGE sql STABLE
RETURN (SELECT session_token FROM tap.opened WHERE n = p_n);
CREATE FUNCTION tap.refresh(p_n integer) RETURNS text LANGUAGE sql STABLE
RETURN (SELECT refresh_token FROM tap.opened WHERE n = p_n);
CREATE FUNCTION tap.trail() RETURNS text LANGUAGE sql STABLE
RETURN (
    SELECT
        string_agg(
            concat_ws(' ', action, resource_type, resource_id, details),
            ', ' ORDER BY action, resource_id
        )
    FROM public.audit_logs
);
CREATE FUNCTION tap.open(p_n integer) RETURNS void LANGUAGE sql
AS $$
    INSERT INTO tap.opened
    SELECT p_n, s.session_id, s.session_token, s.refresh_token, s.expires_at
    FROM public.create_session() AS s
$$;
CREATE FUNCTION tap.reopen(p_n integer, p_used integer) RETURNS void LANGUAGE sql
AS $$
    INSERT INTO tap.opened
    SELECT p_n, s.session_id, s.session_token, s.refresh_token, s.expires_at
    FROM public.refresh_session(tap.refresh(p_used), '192.0.2.2', 'phone') AS s
    WHERE s.outcome = 'refreshed'
$$;
GRANT ALL ON tap.opened TO portal_app;
DELETE FROM public.user_sessions;

-- Opening
SET LOCAL ROLE portal_app;
SELECT throws_ok('SELECT public.create_session()', 'PT401', NULL, 'nobody opens no session');
SELECT set_app_context('d0000000-0000-0000-0000-000000000001');
SELECT throws_ok('SELECT public.create_session()', 'PT401', NULL, 'nor does a deactivated user');
SELECT set_app_context('a0000000-0000-0000-0000-000000000001', '192.0.2.1', 'phone');
SELECT tap.open(1);
SELECT is(
    current_setting('app.session_id'),
    tap.session(1)::text,
    'the transaction goes on in the session that was opened'
);
SELECT tap.open(2);
RESET ROLE;
SELECT results_eq(
    $$SELECT user_id, session_token, refresh_token, host(ip_address), user_agent,
    is_active, family_id,
    renewable_until - CURRENT_TIMESTAMP, expires_at - CURRENT_TIMESTAMP,
    last_activity = CURRENT_TIMESTAMP
    FROM public.user_sessions WHERE id = tap.session(1)$$,
    $$SELECT 'a0000000-0000-0000-0000-000000000001'::uuid,
    encode(sha256(convert_to(session_token, 'UTF8')), 'hex')::varchar,
    encode(sha256(convert_to(refresh_token, 'UTF8')), 'hex')::varchar,
    '192.0.2.1', 'phone', true, NULL::uuid, interval '30 days', interval '8 hours', true
    FROM tap.opened WHERE n = 1$$,
    'a session is kept with the digests of its tokens, and lasts as long as the settings say'
);
SELECT is(
    (
        SELECT count(DISTINCT v.token)
        FROM tap.opened AS o
        CROSS JOIN LATERAL (VALUES (o.session_token), (o.refresh_token)) AS v (token)
        WHERE v.token ~ '^[A-Za-z0-9_-]{43}$'
    ),
    4::bigint, 'tokens are 32 bytes, each its own'
);
SELECT is(
    (SELECT expires_at FROM tap.opened WHERE n = 1),
    CURRENT_TIMESTAMP + interval '8 hours',
    'and its end is told'
);

-- Showing the token
SET LOCAL ROLE portal_app;
SELECT set_app_context(NULL);
SELECT results_eq(
    $$SELECT user_id, session_id, role, expires_at
    FROM public.authenticate(tap.token(1), '192.0.2.9', 'tablet')$$,
    $$SELECT 'a0000000-0000-0000-0000-000000000001'::uuid, tap.session(1), 'standard_user',
    CURRENT_TIMESTAMP + interval '8 hours'$$,
    'a token tells its user'
);
SELECT is(
    concat_ws(
        ' ',
        public.current_app_user_id(),
        current_setting('app.ip_address'),
        current_setting('app.user_agent'),
        current_setting('app.session_id')
    ),
    'a0000000-0000-0000-0000-000000000001 192.0.2.9 tablet ' || tap.session(1),
    'and makes the context'
);
SELECT throws_ok('SELECT * FROM public.authenticate(NULL)', 'PT401', NULL, 'no token is refused');
SELECT throws_ok($$SELECT * FROM public.authenticate('')$$, 'PT401', NULL, 'an empty one too');
SELECT
    throws_ok(
        'SELECT * FROM public.authenticate(tap.refresh(1))', 'PT401', NULL, 'a refresh token too'
    );
RESET ROLE;
SELECT is(
    (SELECT count(*) FROM public.user_sessions WHERE session_token = tap.token(1)), 0::bigint,
    'the token itself is not kept'
);
SET LOCAL ROLE portal_app;
SELECT throws_ok(
    $$SELECT * FROM public.authenticate(encode(sha256(convert_to(tap.token(1), 'UTF8')), 'hex'))$$,
    'PT401',
    NULL,
    'and who reads its digest cannot use that'
);

-- Its use moves last_activity once a minute
RESET ROLE;
UPDATE public.user_sessions SET last_activity = CURRENT_TIMESTAMP - interval '59 seconds'
WHERE id = tap.session(1);
SET LOCAL ROLE portal_app;
SELECT lives_ok('SELECT * FROM public.authenticate(tap.token(1))', 'a request within the minute');
SELECT is(
    (SELECT CURRENT_TIMESTAMP - last_activity FROM public.user_sessions WHERE id = tap.session(1)),
    interval '59 seconds', 'writes nothing'
);
RESET ROLE;
UPDATE public.user_sessions SET last_activity = CURRENT_TIMESTAMP - interval '61 seconds';
SET LOCAL ROLE portal_app;
SELECT throws_ok(
    $test$DO $do$ BEGIN
        SET LOCAL transaction_read_only = on;
        PERFORM public.authenticate(tap.token(1));
        RAISE 'let in';
    END $do$$test$,
    'P0001', 'let in', 'one after it, in a transaction that only reads'
);
SELECT lives_ok('SELECT * FROM public.authenticate(tap.token(1))', 'one after it');
SELECT results_eq(
    'SELECT id, CURRENT_TIMESTAMP - last_activity FROM public.user_sessions ORDER BY 2',
    $$VALUES (tap.session(1), interval '0'), (tap.session(2), interval '61 seconds')$$,
    'is noted, in that session'
);

-- What no longer lasts
RESET ROLE;
UPDATE public.user_sessions SET last_activity = CURRENT_TIMESTAMP - interval '30 minutes'
WHERE id = tap.session(1);
SET LOCAL ROLE portal_app;
SELECT
    throws_ok(
        'SELECT * FROM public.authenticate(tap.token(1))',
        'PT401',
        NULL,
        'half an hour idle is too long'
    );
SELECT
    is(
        (SELECT outcome FROM public.refresh_session(tap.refresh(1))),
        'refused',
        'nor is it refreshed'
    );
RESET ROLE;
UPDATE public.settings SET value = '31 minutes' WHERE name = 'session_idle';
SET LOCAL ROLE portal_app;
SELECT
    lives_ok(
        'SELECT * FROM public.authenticate(tap.token(1))', 'but for a setting that allows more'
    );
RESET ROLE;
UPDATE public.user_sessions SET expires_at = CURRENT_TIMESTAMP WHERE id = tap.session(1);
SET LOCAL ROLE portal_app;
SELECT
    throws_ok(
        'SELECT * FROM public.authenticate(tap.token(1))',
        'PT401',
        NULL,
        'an expired session is refused'
    );
SELECT
    is(
        (SELECT outcome FROM public.refresh_session(tap.refresh(1))),
        'refused',
        'nor is it refreshed'
    );
RESET ROLE;
UPDATE public.user_sessions SET expires_at = CURRENT_TIMESTAMP + interval '1 hour'
WHERE id = tap.session(1);
UPDATE public.users SET is_active = false WHERE azure_oid = 'alpha';
SET LOCAL ROLE portal_app;
SELECT
    throws_ok(
        'SELECT * FROM public.authenticate(tap.token(1))',
        'PT401',
        NULL,
        'a deactivated user''s is refused'
    );
SELECT
    is(
        (SELECT outcome FROM public.refresh_session(tap.refresh(1))),
        'refused',
        'nor is it refreshed'
    );
RESET ROLE;
UPDATE public.users SET is_active = true WHERE azure_oid = 'alpha';
UPDATE public.user_sessions SET renewable_until = CURRENT_TIMESTAMP WHERE id = tap.session(1);
SET LOCAL ROLE portal_app;
SELECT is(
    (SELECT outcome FROM public.refresh_session(tap.refresh(1))),
    'refused',
    'nor one that is refreshed for 30 days'
);
RESET ROLE;
UPDATE public.user_sessions SET renewable_until = CURRENT_TIMESTAMP + interval '1 day'
WHERE id = tap.session(1);
DO $$
BEGIN
    PERFORM set_config('portal.audit_retention', pg_current_xact_id()::text, true);
END;
$$;
DELETE FROM public.audit_logs;

-- Refreshing
SET LOCAL ROLE portal_app;
SELECT set_app_context(NULL);
SELECT results_eq(
    $$SELECT outcome, session_id, session_token, refresh_token, expires_at
    FROM public.refresh_session('unknown')$$,
    $$VALUES ('refused', NULL::uuid, NULL, NULL, NULL::timestamptz)$$,
    'an unknown refresh token is refused'
);
SELECT is(
    (SELECT outcome FROM public.refresh_session(NULL)), 'refused', 'and none'
);
SELECT
    is(
        (SELECT outcome FROM public.refresh_session(tap.token(1))), 'refused', 'and a session token'
    );
SELECT tap.reopen(3, 1);
SELECT is(tap.session(3) <> tap.session(1), true, 'a refresh token gives a new session');
SELECT is(
    concat_ws(' ', public.current_app_user_id(), current_setting('app.session_id')),
    'a0000000-0000-0000-0000-000000000001 ' || tap.session(3), 'and its user the context'
);
RESET ROLE;
SELECT results_eq(
    $$SELECT family_id, host(ip_address), is_active, renewable_until - CURRENT_TIMESTAMP,
    expires_at - CURRENT_TIMESTAMP
    FROM public.user_sessions WHERE id = tap.session(3)$$,
    $$SELECT tap.session(1), '192.0.2.2', true, interval '1 day', interval '8 hours'$$,
    'the new one is of the same family, renewable as long as the first'
);
SELECT results_eq(
    $$SELECT is_active, refreshed_at, expires_at - CURRENT_TIMESTAMP
    FROM public.user_sessions WHERE id = tap.session(1)$$,
    $$VALUES (false, CURRENT_TIMESTAMP, interval '1 day')$$,
    'and the old one used, and kept as long as that'
);
SET LOCAL ROLE portal_app;
SELECT lives_ok('SELECT * FROM public.authenticate(tap.token(3))', 'the new token serves');
SELECT lives_ok(
    'SELECT * FROM public.authenticate(tap.token(1))', 'the old one too, for ten seconds'
);
SELECT tap.reopen(4, 1);
SELECT isnt(tap.session(4), NULL, 'as does its refresh token, for another tab');
RESET ROLE;
SELECT is(
    (SELECT family_id FROM public.user_sessions WHERE id = tap.session(4)),
    tap.session(1),
    'which is of the same family'
);
UPDATE public.user_sessions SET renewable_until = CURRENT_TIMESTAMP + interval '1 hour'
WHERE id = tap.session(4);
SET LOCAL ROLE portal_app;
SELECT tap.reopen(5, 4);
SELECT is(
    (SELECT expires_at FROM tap.opened WHERE n = 5), CURRENT_TIMESTAMP + interval '1 hour',
    'no session outlasts what can be renewed'
);
RESET ROLE;
SELECT is(
    (SELECT family_id FROM public.user_sessions WHERE id = tap.session(5)),
    tap.session(1),
    'a third generation is of the same family'
);
SELECT is(tap.trail(), NULL, 'refreshing is not audited');

-- A used refresh token comes back
UPDATE public.user_sessions SET refreshed_at = CURRENT_TIMESTAMP - interval '10 seconds'
WHERE id = tap.session(1);
SET LOCAL ROLE portal_app;
SELECT throws_ok(
    'SELECT * FROM public.authenticate(tap.token(1))',
    'PT401',
    NULL,
    'after ten seconds the old token serves no more'
);
SELECT results_eq(
    'SELECT outcome, session_id, session_token FROM public.refresh_session(tap.refresh(1))',
    $$VALUES ('reused', NULL::uuid, NULL)$$, 'and its refresh token is known as used'
);
SELECT is(public.current_app_user_id(), NULL, 'and is nobody');
RESET ROLE;
SELECT is(
    (
        SELECT string_agg(o.n::text, ' ' ORDER BY o.n)
        FROM public.user_sessions AS s
        INNER JOIN tap.opened AS o ON s.id = o.session_id
    WHERE s.is_active OR s.refreshed_at IS NOT NULL),
    '2', 'the whole family has ended, and the other sign-in has not'
);
SELECT is(
    tap.trail(),
    'session_reuse_detected session ' || tap.session(1) || ' {}',
    'that is audited once'
);
SELECT is(
    (SELECT user_id FROM public.audit_logs),
    'a0000000-0000-0000-0000-000000000001'::uuid,
    'in the name of its user'
);
SET LOCAL ROLE portal_app;
SELECT is((SELECT outcome FROM public.refresh_session(tap.refresh(1))), 'refused', 'it is over');
SELECT is(
    (SELECT outcome FROM public.refresh_session(tap.refresh(5))), 'refused', 'for every member'
);

-- Signing out
RESET ROLE;
DELETE FROM public.audit_logs;
SET LOCAL ROLE portal_app;
SELECT set_app_context('b0000000-0000-0000-0000-000000000001');
SELECT
    throws_ok(
        'SELECT public.end_session(tap.session(2))',
        'PT404',
        NULL,
        'beta cannot end a session of alpha'
    );
SELECT throws_ok('SELECT public.end_session()', 'PT404', NULL, 'and has none in the context');
SELECT throws_ok(
    $$SELECT public.end_all_sessions('a0000000-0000-0000-0000-000000000001')$$,
    'PT403',
    NULL,
    'nor all of them'
);
SELECT lives_ok('SELECT * FROM public.authenticate(tap.token(2))', 'alpha, in the second session');
SELECT is(public.end_session(tap.session(1)), 0, 'one that has ended is ended');
SELECT is(public.end_session(), 1, 'signs out');
SELECT throws_ok('SELECT * FROM public.authenticate(tap.token(2))', 'PT401', NULL, 'and is out');
RESET ROLE;
SELECT is(tap.trail(), 'logout session ' || tap.session(2) || ' {"ended": 1}', 'audited once');
DELETE FROM public.audit_logs;
SET LOCAL ROLE portal_app;
SELECT set_app_context('a0000000-0000-0000-0000-000000000001');
SELECT tap.open(6);
SELECT tap.open(7);
SELECT set_app_context('b0000000-0000-0000-0000-000000000001');
SELECT tap.open(8);
SELECT set_app_context('f0000000-0000-0000-0000-000000000001');
SELECT throws_ok(
    $$SELECT public.end_all_sessions('00000000-0000-0000-0000-000000000000')$$,
    'PT404',
    NULL,
    'of somebody who is there'
);
SELECT is(
    public.end_all_sessions('a0000000-0000-0000-0000-000000000001'),
    2,
    'a super_admin ends all sessions of alpha'
);
SELECT is(public.end_all_sessions(), 0, 'and has none of their own');
SELECT set_app_context('f0000000-0000-0000-0000-000000000001');
SELECT tap.open(9);
SELECT tap.reopen(10, 9);
RESET ROLE;
UPDATE public.user_sessions
SET expires_at = CURRENT_TIMESTAMP, refreshed_at = CURRENT_TIMESTAMP - interval '1 minute'
WHERE id = tap.session(9);
SET LOCAL ROLE portal_app;
SELECT is(
    (SELECT outcome FROM public.refresh_session(tap.refresh(9))), 'refused',
    'a used token that has expired is no sign of theft'
);
SELECT set_app_context('f0000000-0000-0000-0000-000000000001');
SELECT is(
    public.end_all_sessions(), 1, 'of a session and the one that continues it one is counted'
);
SELECT lives_ok('SELECT * FROM public.authenticate(tap.token(8))', 'beta is still in');
SELECT is(public.end_all_sessions(), 1, 'and signs out everywhere');
RESET ROLE;
SELECT is(
    tap.trail(),
    'logout user a0000000-0000-0000-0000-000000000001 {"ended": 2}, '
    'logout user b0000000-0000-0000-0000-000000000001 {"ended": 1}, '
    'logout user f0000000-0000-0000-0000-000000000001 {"ended": 1}',
    'each audited once'
);

SELECT finish();
ROLLBACK;
