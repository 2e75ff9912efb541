-- A user reaches their own configurations, an admin everyone's, the runner the container columns.
\ir begin.psql
\ir tenants.psql
SELECT plan(36);

-- As alpha
SET LOCAL ROLE portal_app;
SET LOCAL app.current_user_id = 'a0000000-0000-0000-0000-000000000001';
SELECT results_eq(
    'SELECT user_id FROM public.user_server_configs',
    ARRAY['a0000000-0000-0000-0000-000000000001']::uuid[], 'alpha sees their own configuration alone'
);
SELECT is_empty(
    $$SELECT 1 FROM public.user_server_configs WHERE user_id = 'b0000000-0000-0000-0000-000000000001'$$,
    'alpha does not see beta''s by asking for it'
);
SELECT results_eq(
    'UPDATE public.user_server_configs SET enabled = false RETURNING user_id',
    ARRAY['a0000000-0000-0000-0000-000000000001']::uuid[], 'an update without a WHERE is alpha''s own'
);
SELECT lives_ok(
    $$INSERT INTO public.user_server_configs (user_id, server_id, encrypted_config)
    VALUES (
        'a0000000-0000-0000-0000-000000000001', '0a000000-0000-0000-0000-000000000001',
        public.encrypt_sensitive_data('x', repeat('k', 16))
    )$$,
    'alpha configures their own custom server'
);
SELECT throws_ok(
    $$INSERT INTO public.user_server_configs (user_id, server_id)
    SELECT 'b0000000-0000-0000-0000-000000000001', s.id FROM public.mcp_servers AS s
    WHERE s.name = 'github'$$,
    '42501', NULL, 'alpha cannot configure for beta'
);
SELECT throws_ok(
    $$UPDATE public.user_server_configs SET user_id = 'b0000000-0000-0000-0000-000000000001'$$,
    '42501', NULL, 'alpha cannot give a configuration away'
);
SELECT throws_ok(
    $$UPDATE public.user_server_configs SET container_state = 'running'$$,
    '42501', NULL, 'alpha cannot write the container''s state'
);
SELECT throws_ok(
    $$UPDATE public.user_server_configs SET container_id = 'x'$$,
    '42501', NULL, 'alpha cannot write the container''s id'
);
SELECT throws_ok(
    $$INSERT INTO public.user_server_configs (user_id, server_id, container_id)
    VALUES ('a0000000-0000-0000-0000-000000000001', '0a000000-0000-0000-0000-000000000001', 'x')$$,
    '42501', NULL, 'nor when inserting'
);
SELECT throws_ok('TRUNCATE public.user_server_configs', '42501', NULL, 'alpha cannot truncate the table');
SELECT is_empty(
    $$DELETE FROM public.user_server_configs WHERE user_id <> 'a0000000-0000-0000-0000-000000000001'
    RETURNING 1$$,
    'alpha deletes nobody else''s'
);
SELECT throws_ok(
    $$INSERT INTO public.user_server_configs (user_id, server_id)
    VALUES ('b0000000-0000-0000-0000-000000000001', '0b000000-0000-0000-0000-000000000001')
    ON CONFLICT ON CONSTRAINT unique_user_server DO UPDATE SET enabled = false$$,
    '42501', NULL, 'alpha cannot reach beta''s row through ON CONFLICT'
);
SELECT isnt_empty(
    'SELECT 1 FROM public.user_server_configs FOR UPDATE', 'alpha locks their own rows and no others'
);
SELECT lives_ok(
    'SET LOCAL row_security = off', 'alpha may switch row_security off'
);
SELECT throws_ok(
    'SELECT 1 FROM public.user_server_configs', '42501', NULL, 'and is refused instead of shown everything'
);
SET LOCAL row_security = on;

-- As beta, on the same connection
SET LOCAL app.current_user_id = 'b0000000-0000-0000-0000-000000000001';
SELECT results_eq(
    'SELECT user_id FROM public.user_server_configs',
    ARRAY['b0000000-0000-0000-0000-000000000001']::uuid[], 'beta sees their own configuration alone'
);
SELECT throws_ok(
    $$INSERT INTO public.user_server_configs (user_id, server_id)
    VALUES ('b0000000-0000-0000-0000-000000000001', '0a000000-0000-0000-0000-000000000001')$$,
    '42501', NULL, 'beta cannot configure alpha''s custom server, though they know its id'
);

-- As tess and sam
SET LOCAL app.current_user_id = 'e0000000-0000-0000-0000-000000000001';
SELECT is(
    (SELECT count(*) FROM public.user_server_configs WHERE server_id IN (
        '0a000000-0000-0000-0000-000000000001', '0b000000-0000-0000-0000-000000000001'
    )),
    6::bigint, 'tess, a team_admin, sees every configuration'
);
SET LOCAL app.current_user_id = 'f0000000-0000-0000-0000-000000000001';
SELECT results_eq(
    $$UPDATE public.user_server_configs SET enabled = true
    WHERE
        user_id = 'b0000000-0000-0000-0000-000000000001'
        AND server_id = '0b000000-0000-0000-0000-000000000001'
    RETURNING user_id$$,
    ARRAY['b0000000-0000-0000-0000-000000000001']::uuid[],
    'sam, a super_admin, changes beta''s configuration'
);

-- As dora and dan, deactivated
SET LOCAL app.current_user_id = 'd0000000-0000-0000-0000-000000000001';
SELECT is_empty('SELECT 1 FROM public.user_server_configs', 'dora, deactivated, sees nothing');
SET LOCAL app.current_user_id = 'd0000000-0000-0000-0000-000000000002';
SELECT is_empty(
    'SELECT 1 FROM public.user_server_configs', 'dan, a deactivated super_admin, sees nothing'
);
SELECT throws_ok(
    $$INSERT INTO public.user_server_configs (user_id, server_id)
    VALUES ('d0000000-0000-0000-0000-000000000002', '0b000000-0000-0000-0000-000000000001')$$,
    '42501', NULL, 'and adds nothing'
);

-- '' is what a pooled SET LOCAL leaves behind
SET LOCAL app.current_user_id = '';
SELECT is_empty('SELECT 1 FROM public.user_server_configs', 'nobody sees anything without a context');
SELECT is_empty('UPDATE public.user_server_configs SET enabled = false RETURNING 1', 'nor changes anything');

-- As the runner
SET LOCAL ROLE portal_runner;
SELECT is(
    (SELECT count(*) FROM public.user_server_configs WHERE server_id = '0b000000-0000-0000-0000-000000000001'),
    5::bigint, 'the runner sees every configuration'
);
SELECT isnt_empty(
    $$UPDATE public.user_server_configs
    SET container_id = 'c', container_state = 'running', last_state_change = CURRENT_TIMESTAMP
    WHERE user_id = 'b0000000-0000-0000-0000-000000000001'
    RETURNING 1$$,
    'the runner writes the container''s columns'
);
SELECT throws_ok(
    'UPDATE public.user_server_configs SET enabled = false', '42501', NULL,
    'the runner cannot change what a user wants'
);
SELECT throws_ok(
    'UPDATE public.user_server_configs SET encrypted_config = NULL', '42501', NULL,
    'the runner cannot change a user''s secrets'
);
SELECT throws_ok(
    'DELETE FROM public.user_server_configs', '42501', NULL, 'the runner cannot delete a configuration'
);

-- As the monitor
SET LOCAL ROLE portal_monitor;
SELECT throws_ok(
    'SELECT 1 FROM public.user_server_configs', '42501', NULL, 'the monitor reads no configuration'
);

-- As the maintenance role, which encrypts values anew
SET LOCAL ROLE portal_maintenance;
SELECT is(
    (SELECT count(*) FROM public.user_server_configs WHERE server_id = '0b000000-0000-0000-0000-000000000001'),
    5::bigint, 'the maintenance role sees every row that may hold a value'
);
SELECT lives_ok(
    'UPDATE public.user_server_configs SET encrypted_config = NULL', 'and writes the value of every row'
);
SELECT throws_ok(
    'SELECT enabled, config_metadata FROM public.user_server_configs', '42501', NULL,
    'the maintenance role reads nothing else of a configuration'
);
SELECT throws_ok(
    'UPDATE public.user_server_configs SET user_id = user_id', '42501', NULL,
    'nor changes anything else'
);
SELECT throws_ok(
    'DELETE FROM public.user_server_configs', '42501', NULL, 'nor deletes one'
);

-- As the owner, by whom migrations run
SET LOCAL ROLE mcp_admin;
SELECT is(
    (SELECT count(*) FROM public.user_server_configs WHERE server_id = '0b000000-0000-0000-0000-000000000001'),
    5::bigint, 'the owner sees every row: a migration touches all of them'
);

SELECT finish();
ROLLBACK;
