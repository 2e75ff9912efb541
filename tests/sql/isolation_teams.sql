-- A member sees their teams and who is in them, an admin all; services change none of it directly.
\ir begin.psql
\ir tenants.psql
SELECT plan(12);

-- As alpha
SET LOCAL ROLE portal_app;
SET LOCAL app.current_user_id = 'a0000000-0000-0000-0000-000000000001';
SELECT results_eq(
    'SELECT name::text FROM public.teams', ARRAY['team of alpha'], 'alpha sees their own team alone'
);
SELECT results_eq(
    'SELECT user_id FROM public.team_members',
    ARRAY['a0000000-0000-0000-0000-000000000001']::uuid[], 'and its members'
);
SELECT throws_ok(
    $$INSERT INTO public.team_members (team_id, user_id)
    VALUES ('1b000000-0000-0000-0000-000000000001', 'a0000000-0000-0000-0000-000000000001')$$,
    '42501', NULL, 'alpha cannot join beta''s team by themselves'
);
SELECT throws_ok(
    $$UPDATE public.teams SET name = 'x'$$, '42501', NULL, 'alpha cannot rename a team through the table'
);

-- As beta, whose team has a second member
SET LOCAL app.current_user_id = 'b0000000-0000-0000-0000-000000000001';
SELECT results_eq(
    'SELECT name::text FROM public.teams', ARRAY['team of beta'], 'beta sees their own team alone'
);
SELECT results_eq(
    'SELECT user_id FROM public.team_members ORDER BY user_id',
    ARRAY['b0000000-0000-0000-0000-000000000001', 'd0000000-0000-0000-0000-000000000001']::uuid[],
    'beta sees their teammate''s membership'
);

-- As tess, a team_admin who is in no team
SET LOCAL app.current_user_id = 'e0000000-0000-0000-0000-000000000001';
SELECT is(
    (SELECT count(*) FROM public.teams WHERE name LIKE 'team of %'), 2::bigint, 'tess sees every team'
);
SELECT is(
    (SELECT count(*) FROM public.team_members WHERE role IN ('admin', 'member')), 3::bigint,
    'and every member'
);

-- As dora, deactivated, who is still a member
SET LOCAL app.current_user_id = 'd0000000-0000-0000-0000-000000000001';
SELECT is_empty('SELECT 1 FROM public.teams', 'dora, deactivated, sees no team');
SELECT is_empty('SELECT 1 FROM public.team_members', 'nor a member');

-- Without a context
SET LOCAL app.current_user_id = '';
SELECT is_empty('SELECT 1 FROM public.teams', 'nobody sees a team without a context');
SELECT is_empty('SELECT 1 FROM public.team_members', 'nor a member');

SELECT finish();
ROLLBACK;
