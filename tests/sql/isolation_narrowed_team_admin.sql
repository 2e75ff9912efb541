-- With team_admin_scope = teams a team_admin reaches the members of the teams they administer.
\ir begin.psql
\ir tenants.psql
SELECT plan(26);

-- nora administers alpha's team and is a plain member of beta's; tess is in no team
INSERT INTO public.users (id, azure_oid, email, role) VALUES
('e0000000-0000-0000-0000-000000000002', 'nora', 'nora@example.org', 'team_admin');
INSERT INTO public.team_members (team_id, user_id, role) VALUES
('1a000000-0000-0000-0000-000000000001', 'e0000000-0000-0000-0000-000000000002', 'admin'),
('1b000000-0000-0000-0000-000000000001', 'e0000000-0000-0000-0000-000000000002', 'member');
UPDATE public.settings SET value = 'teams' WHERE name = 'team_admin_scope';

-- As nora
SET LOCAL ROLE portal_app;
SET LOCAL app.current_user_id = 'e0000000-0000-0000-0000-000000000002';
SELECT results_eq(
    'SELECT azure_oid::text FROM public.users ORDER BY 1', ARRAY['alpha', 'nora'],
    'nora sees herself and the member of the team that she administers, not those of the one she is in'
);
SELECT results_eq(
    'SELECT user_id FROM public.user_server_configs',
    ARRAY['a0000000-0000-0000-0000-000000000001']::uuid[], 'and that member''s configurations'
);
SELECT results_eq(
    $$SELECT name::text FROM public.mcp_servers WHERE name LIKE '%-tool' ORDER BY 1$$,
    ARRAY['alpha-tool', 'shared-tool'], 'and that member''s custom server beside the catalog'
);
SELECT results_eq(
    'SELECT email::text FROM public.user_dashboard ORDER BY 1',
    ARRAY['alpha@example.org', 'nora@example.org'], 'and their dashboards'
);
SELECT results_eq(
    'SELECT name::text FROM public.teams ORDER BY 1', ARRAY['team of alpha', 'team of beta'], 'she sees her own teams'
);
SELECT is_empty('SELECT 1 FROM public.user_sessions', 'and nobody''s sessions but her own');
SELECT results_eq(
    'WITH changed AS (UPDATE public.user_server_configs SET enabled = false RETURNING user_id) TABLE changed',
    ARRAY['a0000000-0000-0000-0000-000000000001']::uuid[], 'she changes that member''s configurations alone'
);
SELECT lives_ok(
    $$INSERT INTO public.user_server_configs (user_id, server_id)
    VALUES ('a0000000-0000-0000-0000-000000000001', '0a000000-0000-0000-0000-000000000001')$$,
    'and makes one for them'
);
SELECT throws_ok(
    $$INSERT INTO public.user_server_configs (user_id, server_id)
    VALUES ('b0000000-0000-0000-0000-000000000001', '0b000000-0000-0000-0000-000000000001')$$,
    '42501', NULL, 'but none for beta'
);
SELECT is_empty(
    $$WITH changed AS (
        UPDATE public.users SET display_name = 'x' WHERE azure_oid = 'alpha' RETURNING 1
    ) TABLE changed$$,
    'she changes nobody''s user but her own'
);
SELECT is_empty(
    $$WITH changed AS (
        UPDATE public.mcp_servers SET description = 'x' WHERE name = 'alpha-tool' RETURNING 1
    ) TABLE changed$$,
    'nor a custom server of theirs'
);

-- As nora once her team is not active, and another is
RESET ROLE;
UPDATE public.teams SET is_active = false WHERE name = 'team of alpha';
SET LOCAL ROLE portal_app;
SELECT is(public.app_narrowed_to(), '{}'::uuid[], 'a team that is disbanded gives her no reach');
SELECT results_eq(
    'SELECT azure_oid::text FROM public.users', ARRAY['nora'], 'she sees nobody through it'
);
RESET ROLE;
UPDATE public.teams SET is_active = true WHERE name = 'team of alpha';
SET LOCAL ROLE portal_app;

-- As tess, who administers no team
SET LOCAL app.current_user_id = 'e0000000-0000-0000-0000-000000000001';
SELECT results_eq('SELECT azure_oid::text FROM public.users ORDER BY 1', ARRAY['tess'], 'tess, of no team, sees herself');
SELECT is_empty('SELECT 1 FROM public.user_server_configs', 'and no configuration');
SELECT is_empty('SELECT 1 FROM public.teams', 'and no team');

-- As alpha, who administers a team and is no team_admin
SET LOCAL app.current_user_id = 'a0000000-0000-0000-0000-000000000001';
SELECT results_eq(
    'SELECT azure_oid::text FROM public.users ORDER BY 1', ARRAY['alpha'], 'a team''s admin who is no team_admin sees themselves'
);
SELECT is(public.app_narrowed_to(), '{}'::uuid[], 'and is narrowed to nobody');

-- As sam, who is never narrowed
SET LOCAL app.current_user_id = 'f0000000-0000-0000-0000-000000000001';
SELECT is(
    (SELECT count(*) FROM public.users WHERE email LIKE '%@example.org'), 7::bigint,
    'sam, a super_admin, sees everyone as before'
);
SELECT is(
    (SELECT count(DISTINCT user_id) FROM public.user_server_configs), 5::bigint, 'and every configuration'
);

-- As nora once she is deactivated
RESET ROLE;
UPDATE public.users SET is_active = false WHERE azure_oid = 'nora';
SET LOCAL ROLE portal_app;
SET LOCAL app.current_user_id = 'e0000000-0000-0000-0000-000000000002';
SELECT is_empty('SELECT 1 FROM public.users', 'nora, deactivated, sees nobody');
SELECT is(public.app_narrowed_to(), '{}'::uuid[], 'and the function tells her nothing');

-- Without the setting's row a team_admin is narrowed; a service can neither read nor write it
RESET ROLE;
DELETE FROM public.settings WHERE name = 'team_admin_scope';
SET LOCAL ROLE portal_app;
SET LOCAL app.current_user_id = 'e0000000-0000-0000-0000-000000000001';
SELECT results_eq('SELECT azure_oid::text FROM public.users ORDER BY 1', ARRAY['tess'], 'a missing setting opens nothing');
SELECT throws_ok('SELECT 1 FROM public.settings', '42501', NULL, 'a service reads no setting');
SELECT throws_ok($$UPDATE public.settings SET value = 'everyone'$$, '42501', NULL, 'and writes none');

-- Its values
RESET ROLE;
SELECT throws_ok(
    $$INSERT INTO public.settings (name, value, description) VALUES ('team_admin_scope', 'nobody', 'x')$$,
    '23514', NULL, 'no other value is taken'
);

SELECT finish();
ROLLBACK;
