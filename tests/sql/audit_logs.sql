-- The audit trail takes entries through one function, in one's own name, and gives none back.
\ir begin.psql
\ir tenants.psql
SELECT plan(23);

-- As alpha
SET LOCAL ROLE portal_app;
SET LOCAL app.current_user_id = 'a0000000-0000-0000-0000-000000000001';
SELECT lives_ok(
    $$SELECT public.create_audit_log(
        'a0000000-0000-0000-0000-000000000001', 'login', 'session',
        '0b000000-0000-0000-0000-000000000001', '{"n": 1}', '192.0.2.1', 'agent of alpha'
    )$$,
    'alpha writes an entry'
);
SELECT lives_ok(
    $$SELECT public.create_audit_log(NULL, 'logout', NULL, NULL, NULL, NULL, 'agent of alpha')$$,
    'alpha writes an entry without saying who they are'
);
SELECT throws_ok(
    $$SELECT public.create_audit_log(
        'b0000000-0000-0000-0000-000000000001', 'login', NULL, NULL, NULL, NULL, NULL
    )$$,
    '42501', 'an audit entry is written in one''s own name only', 'alpha cannot write in beta''s name'
);
SELECT throws_ok(
    $$SELECT public.create_audit_log(NULL, 'looked', NULL, NULL, NULL, NULL, NULL)$$,
    '23514', NULL, 'an action that valid_action does not know is refused'
);
SELECT throws_ok('SELECT 1 FROM public.audit_logs', '42501', NULL, 'alpha reads no entry');
SELECT throws_ok(
    $$INSERT INTO public.audit_logs (action) VALUES ('login')$$, '42501', NULL,
    'alpha inserts none past the function'
);
SELECT throws_ok('UPDATE public.audit_logs SET details = NULL', '42501', NULL, 'alpha changes none');
SELECT throws_ok('DELETE FROM public.audit_logs', '42501', NULL, 'alpha deletes none');
SELECT throws_ok('TRUNCATE public.audit_logs', '42501', NULL, 'alpha cannot truncate the trail');
SELECT throws_ok(
    'SELECT 1 FROM public.audit_logs_default', '42501', NULL, 'nor read a partition directly'
);
SELECT throws_ok(
    $$INSERT INTO public.audit_logs_2024_01 (action, timestamp) VALUES ('login', '2024-01-15')$$,
    '42501', NULL, 'nor write one'
);
SELECT throws_ok(
    $$SELECT public.ensure_audit_partitions()$$, '42501', NULL, 'nor make one'
);

-- Without a context
SET LOCAL app.current_user_id = '';
SELECT throws_ok(
    $$SELECT public.create_audit_log(
        'a0000000-0000-0000-0000-000000000001', 'login', NULL, NULL, NULL, NULL, NULL
    )$$,
    '42501', NULL, 'without a context nobody writes in alpha''s name'
);
SELECT lives_ok(
    $$SELECT public.create_audit_log(NULL, 'login', NULL, NULL, NULL, NULL, 'agent of nobody')$$,
    'without a context an entry of the system is written'
);

-- What was written
RESET ROLE;
SELECT results_eq(
    $$SELECT user_id, action::text, resource_type::text, resource_id, details, ip_address, user_agent
    FROM public.audit_logs WHERE action = 'login' AND user_agent = 'agent of alpha'$$,
    $$VALUES (
        'a0000000-0000-0000-0000-000000000001'::uuid, 'login', 'session',
        '0b000000-0000-0000-0000-000000000001'::uuid, '{"n": 1}'::jsonb, '192.0.2.1'::inet,
        'agent of alpha'
    )$$,
    'an entry holds what was passed'
);
SELECT results_eq(
    $$SELECT user_id FROM public.audit_logs WHERE action = 'logout' AND user_agent = 'agent of alpha'$$,
    ARRAY['a0000000-0000-0000-0000-000000000001']::uuid[], 'an entry names the user of the context'
);
SELECT results_eq(
    $$SELECT user_id FROM public.audit_logs WHERE user_agent = 'agent of nobody'$$,
    ARRAY[NULL]::uuid[], 'an entry of the system names nobody'
);
SELECT results_eq(
    $$SELECT tableoid::regclass::text, timestamp FROM public.audit_logs
    WHERE user_agent = 'agent of nobody'$$,
    $$SELECT
        'audit_logs_' || to_char(CURRENT_TIMESTAMP AT TIME ZONE 'UTC', 'YYYY_MM'),
        CURRENT_TIMESTAMP$$,
    'an entry of today lies in this month''s partition, under the transaction''s time'
);
SET LOCAL ROLE portal_app;
SET LOCAL app.current_user_id = 'a0000000-0000-0000-0000-000000000001';
DO $$
BEGIN
    PERFORM set_config(
        'test.returned',
        public.create_audit_log(
            NULL, 'user_updated', NULL, NULL, NULL, NULL, 'agent of the id'
        )::text,
        true
    );
END;
$$;
RESET ROLE;
SELECT results_eq(
    $$SELECT id FROM public.audit_logs WHERE user_agent = 'agent of the id'$$,
    ARRAY[current_setting('test.returned')]::uuid[], 'the id that is returned is that of the entry'
);

-- As portal_api itself, should one of its functions go wrong
SET LOCAL ROLE portal_api;
SELECT throws_ok(
    $$INSERT INTO public.audit_logs (user_id, action)
    VALUES ('b0000000-0000-0000-0000-000000000001', 'login')$$,
    '42501', NULL, 'the policy refuses another''s name even to portal_api'
);
SELECT throws_ok(
    $$INSERT INTO public.audit_logs (action, timestamp) VALUES ('login', '2024-01-15')$$,
    '42501', NULL, 'portal_api dates no entry back'
);
SELECT is_empty(
    $$SELECT 1 FROM public.audit_logs WHERE user_id IS DISTINCT FROM public.current_app_user_id()$$,
    'portal_api reads no entry of another for who reaches none'
);

-- Every row has a place
SET LOCAL ROLE mcp_admin;
SELECT lives_ok(
    $$INSERT INTO public.audit_logs (action, timestamp)
    VALUES ('login', '2024-01-15'), ('login', '2024-02-29'), ('login', '1999-12-31'), ('login', '2099-01-01')$$,
    'an entry of any time is taken'
);

SELECT finish();
ROLLBACK;
