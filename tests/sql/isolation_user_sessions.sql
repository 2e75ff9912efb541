-- A user reaches their own sessions alone; no admin and no other role reads one.
\ir begin.psql
\ir tenants.psql
SELECT plan(17);

-- As alpha
SET LOCAL ROLE portal_app;
SET LOCAL app.current_user_id = 'a0000000-0000-0000-0000-000000000001';
SELECT results_eq(
    'SELECT session_token::text FROM public.user_sessions', ARRAY['token of alpha'],
    'alpha sees their own session alone'
);
SELECT is_empty(
    $$SELECT 1 FROM public.user_sessions WHERE session_token = 'token of beta'$$,
    'alpha does not find beta''s by its token'
);
SELECT lives_ok(
    $$INSERT INTO public.user_sessions (user_id, session_token, expires_at)
    VALUES ('a0000000-0000-0000-0000-000000000001', 'second of alpha', 'infinity')$$,
    'alpha opens a session'
);
SELECT throws_ok(
    $$INSERT INTO public.user_sessions (user_id, session_token, expires_at)
    VALUES ('b0000000-0000-0000-0000-000000000001', 'false', 'infinity')$$,
    '42501', NULL, 'alpha cannot open one for beta'
);
SELECT throws_ok(
    $$UPDATE public.user_sessions SET user_id = 'b0000000-0000-0000-0000-000000000001'$$,
    '42501', NULL, 'alpha cannot give a session away'
);
SELECT is(
    (SELECT count(*) FROM public.user_sessions), 2::bigint, 'alpha counts their own sessions'
);
SELECT results_eq(
    $$DELETE FROM public.user_sessions WHERE session_token <> 'token of alpha' RETURNING session_token::text$$,
    ARRAY['second of alpha'], 'alpha ends their own sessions and no other'
);
SELECT throws_ok('TRUNCATE public.user_sessions', '42501', NULL, 'alpha cannot truncate the table');

-- As beta, on the same connection
SET LOCAL app.current_user_id = 'b0000000-0000-0000-0000-000000000001';
SELECT results_eq(
    'SELECT session_token::text FROM public.user_sessions', ARRAY['token of beta'],
    'beta sees their own session alone'
);

-- As tess and sam
SET LOCAL app.current_user_id = 'e0000000-0000-0000-0000-000000000001';
SELECT results_eq(
    'SELECT session_token::text FROM public.user_sessions', ARRAY['token of tess'],
    'tess, a team_admin, sees her own alone'
);
SET LOCAL app.current_user_id = 'f0000000-0000-0000-0000-000000000001';
SELECT results_eq(
    'SELECT session_token::text FROM public.user_sessions', ARRAY['token of sam'],
    'sam, a super_admin, sees their own alone'
);

-- As dora, deactivated, who still holds a token
SET LOCAL app.current_user_id = 'd0000000-0000-0000-0000-000000000001';
SELECT is_empty('SELECT 1 FROM public.user_sessions', 'dora, deactivated, sees none, not even her own');

-- '' is what a pooled SET LOCAL leaves behind
SET LOCAL app.current_user_id = '';
SELECT is_empty('SELECT 1 FROM public.user_sessions', 'nobody reads a session without a context');
SET LOCAL app.current_user_id = 'nonsense';
SELECT throws_ok('SELECT 1 FROM public.user_sessions', '22P02', NULL, 'a malformed context is an error');

-- As the other roles
SET LOCAL ROLE portal_runner;
SELECT throws_ok('SELECT 1 FROM public.user_sessions', '42501', NULL, 'the runner reads no session');
SET LOCAL ROLE portal_monitor;
SELECT throws_ok('SELECT 1 FROM public.user_sessions', '42501', NULL, 'the monitor reads no session');
SET LOCAL ROLE portal_maintenance;
SELECT throws_ok(
    'SELECT 1 FROM public.user_sessions', '42501', NULL, 'the maintenance role reads no session'
);

SELECT finish();
ROLLBACK;
