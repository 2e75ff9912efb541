-- A user sees and changes themselves alone, an admin sees everyone, nobody sees without a context.
\ir begin.psql
\ir tenants.psql
SELECT plan(19);

-- As alpha
SET LOCAL ROLE portal_app;
SET LOCAL app.current_user_id = 'a0000000-0000-0000-0000-000000000001';
SELECT results_eq('SELECT azure_oid::text FROM public.users', ARRAY['alpha'], 'alpha sees alpha alone');
SELECT lives_ok($$UPDATE public.users SET display_name = 'A'$$, 'alpha changes their own name');
RESET ROLE;
SELECT results_eq(
    $$SELECT azure_oid::text FROM public.users WHERE display_name = 'A'$$, ARRAY['alpha'],
    'and nobody else''s'
);
SET LOCAL ROLE portal_app;
SELECT throws_ok(
    $$UPDATE public.users SET role = 'super_admin'$$, '42501', NULL,
    'alpha cannot make themselves super_admin'
);
SELECT throws_ok(
    'UPDATE public.users SET is_active = true', '42501', NULL, 'alpha cannot reactivate anyone'
);
SELECT throws_ok(
    $$UPDATE public.users SET azure_oid = 'sam'$$, '42501', NULL, 'alpha cannot become someone else'
);
SELECT throws_ok(
    $$INSERT INTO public.users (azure_oid, email) VALUES ('x', 'x@example.org')$$, '42501', NULL,
    'alpha cannot add a user'
);
SELECT throws_ok('DELETE FROM public.users', '42501', NULL, 'alpha cannot delete a user');
SELECT throws_ok('TRUNCATE public.users CASCADE', '42501', NULL, 'alpha cannot truncate the users');

-- As beta, on the same connection
SET LOCAL app.current_user_id = 'b0000000-0000-0000-0000-000000000001';
SELECT results_eq('SELECT azure_oid::text FROM public.users', ARRAY['beta'], 'beta sees beta alone');

-- As tess, team_admin
SET LOCAL app.current_user_id = 'e0000000-0000-0000-0000-000000000001';
SELECT is(
    (SELECT count(*) FROM public.users WHERE email LIKE '%@example.org'), 6::bigint,
    'tess, a team_admin, sees every user'
);
SELECT is_empty(
    $$UPDATE public.users SET display_name = 'X' WHERE azure_oid = 'alpha' RETURNING 1$$,
    'and changes none but herself'
);

-- As sam, super_admin
SET LOCAL app.current_user_id = 'f0000000-0000-0000-0000-000000000001';
SELECT is(
    (SELECT count(*) FROM public.users WHERE email LIKE '%@example.org'), 6::bigint,
    'sam, a super_admin, sees every user'
);

-- As dora and dan, deactivated, and as a user whom nobody knows
SET LOCAL app.current_user_id = 'd0000000-0000-0000-0000-000000000001';
SELECT is_empty('SELECT 1 FROM public.users', 'dora, deactivated, does not even see herself');
SET LOCAL app.current_user_id = 'd0000000-0000-0000-0000-000000000002';
SELECT is_empty('SELECT 1 FROM public.users', 'dan, a deactivated super_admin, sees nobody');
SET LOCAL app.current_user_id = '99999999-9999-9999-9999-999999999999';
SELECT is_empty('SELECT 1 FROM public.users', 'a user whom nobody knows sees nobody');

-- '' is what a pooled SET LOCAL leaves behind
SET LOCAL app.current_user_id = '';
SELECT is_empty('SELECT 1 FROM public.users', 'nobody sees a user without a context');
SET LOCAL app.current_user_id = 'nonsense';
SELECT throws_ok('SELECT 1 FROM public.users', '22P02', NULL, 'a malformed context is an error');

-- As the functions of portal_api, which let people in
RESET ROLE;
SET LOCAL app.current_user_id = '';
SET LOCAL ROLE portal_api;
SELECT lives_ok(
    $$INSERT INTO public.users (azure_oid, email) VALUES ('new', 'new@example.org')$$,
    'portal_api lets a user in without a context'
);

SELECT finish();
ROLLBACK;
