-- Who comes in, what a super_admin changes about others, and how a person is forgotten.
\ir begin.psql
\ir tenants.psql
SELECT plan(72);

CREATE FUNCTION tap.trail() RETURNS text
LANGUAGE sql
RETURN (SELECT string_agg(action, ' ' ORDER BY action) FROM public.audit_logs);
-- What was audited of what, kept where the trail is emptied for the next step
CREATE TABLE tap.kept (action text, resource_type text);
CREATE FUNCTION tap.forget() RETURNS void LANGUAGE sql
AS $$
    INSERT INTO tap.kept SELECT l.action, l.resource_type FROM public.audit_logs AS l;
    SELECT set_config('portal.audit_retention', pg_current_xact_id()::text, true);
    DELETE FROM public.audit_logs;
$$;
CREATE TABLE tap.carol (outcome text, user_id uuid, role text, is_new boolean);
GRANT ALL ON tap.carol TO portal_app;

-- Signing in, for the first time
SET LOCAL ROLE portal_app;
SELECT set_app_context(NULL, '192.0.2.1', 'agent of carol');
INSERT INTO carol
SELECT
    s.outcome,
    s.user_id,
    s.role,
    s.is_new
FROM public.sign_in('carol', 'carol@example.org', 'Carol', '{"team": "x"}') AS s;
SELECT results_eq(
    'SELECT outcome, role, is_new FROM carol', $$VALUES ('signed_in', 'standard_user', true)$$,
    'whoever signs in first is a standard_user'
);
SELECT is(
    public.current_app_user_id(),
    (SELECT user_id FROM carol),
    'who signs in is the user of the transaction'
);
SELECT results_eq(
    'SELECT email, display_name, metadata, is_active, last_login_at IS NOT NULL FROM public.users',
    $$VALUES ('carol@example.org'::varchar, 'Carol'::varchar, '{"team": "x"}'::jsonb, true, true)$$,
    'what Azure said is kept'
);
RESET ROLE;
SELECT results_eq(
    $$SELECT action, user_id, resource_id, host(ip_address), user_agent
    FROM public.audit_logs ORDER BY action$$,
    $$SELECT a, c.user_id, c.user_id, '192.0.2.1', 'agent of carol'
    FROM carol AS c CROSS JOIN (VALUES ('login'::varchar), ('user_created')) AS v (a)$$,
    'user_created and login are audited once, with address and program'
);

-- Again, with another name
SELECT tap.forget();
SET LOCAL ROLE portal_app;
SELECT results_eq(
    $$SELECT outcome, user_id, is_new
    FROM public.sign_in('carol', 'carol@example.org', 'Caroline')$$,
    $$SELECT 'signed_in', user_id, false FROM carol$$, 'the same person is the same user'
);
SELECT results_eq(
    'SELECT display_name, metadata FROM public.users',
    $$VALUES ('Caroline'::varchar, '{"team": "x"}'::jsonb)$$,
    'what changed is taken over, NULL keeps'
);
RESET ROLE;
SELECT is(tap.trail(), 'login user_updated', 'user_updated and login are audited');
SELECT is(
    (SELECT details FROM public.audit_logs WHERE action = 'user_updated'),
    '{"changed": ["display_name"]}'::jsonb,
    'with what changed, and no value'
);
SELECT tap.forget();
SET LOCAL ROLE portal_app;
SELECT is(
    (SELECT outcome FROM public.sign_in('carol', 'c@example.org', 'Caroline', '{"team": "x"}')),
    'signed_in',
    'a new address'
);
RESET ROLE;
SELECT is(
    (SELECT details FROM public.audit_logs WHERE action = 'user_updated'),
    '{"changed": ["email"]}'::jsonb,
    'is noticed'
);
SELECT tap.forget();
SET LOCAL ROLE portal_app;
SELECT is(
    (SELECT outcome FROM public.sign_in('carol', 'c@example.org', NULL, '{}')), 'signed_in', 'so is'
);
RESET ROLE;
SELECT is(
    (SELECT details FROM public.audit_logs WHERE action = 'user_updated'),
    '{"changed": ["metadata"]}'::jsonb,
    'other metadata'
);
SELECT tap.forget();
SET LOCAL ROLE portal_app;
SELECT
    is(
        (SELECT outcome FROM public.sign_in('carol', 'c@example.org')),
        'signed_in',
        'with nothing new'
    );
RESET ROLE;
SELECT is(tap.trail(), 'login', 'login alone is audited');

-- The context
SET LOCAL ROLE portal_app;
SELECT lives_ok(
    $$SELECT public.set_app_context(NULL, NULL, NULL, repeat('x', 255))$$, 'a session id'
);
SELECT throws_ok(
    $$SELECT public.set_app_context(NULL, NULL, NULL, repeat('x', 256))$$,
    'PT400', NULL, 'has 255 letters at most'
);
RESET ROLE;
SELECT set_app_context(NULL);

-- Somebody who is shut out, and what is no person
SELECT tap.forget();
SET LOCAL ROLE portal_app;
SELECT results_eq(
    $$SELECT outcome, user_id, role FROM public.sign_in('dora', 'new@example.org')$$,
    $$VALUES ('refused', NULL::uuid, NULL)$$, 'a deactivated user is refused'
);
SELECT is(public.current_app_user_id(), NULL, 'and is not the user of the transaction');
RESET ROLE;
SELECT is(
    (SELECT email FROM public.users WHERE azure_oid = 'dora'),
    'dora@example.org',
    'nothing of theirs is changed'
);
SELECT results_eq(
    'SELECT action, user_id, details FROM public.audit_logs',
    $$VALUES (
        'login_refused'::varchar, 'd0000000-0000-0000-0000-000000000001'::uuid,
        '{"reason": "deactivated"}'::jsonb
    )$$,
    'the attempt is audited'
);
SET LOCAL ROLE portal_app;
SELECT throws_ok($$SELECT public.sign_in(NULL, 'x')$$, 'PT400', NULL, 'an id is needed');
SELECT throws_ok($$SELECT public.sign_in('', 'x')$$, 'PT400', NULL, 'and not an empty one');
SELECT throws_ok($$SELECT public.sign_in('x', NULL)$$, 'PT400', NULL, 'an address is needed');
SELECT throws_ok($$SELECT public.sign_in('x', '')$$, 'PT400', NULL, 'and not an empty one');
SELECT
    lives_ok(
        $$SELECT public.sign_in(repeat('x', 255), repeat('x', 255), repeat('x', 255))$$,
        '255 letters are taken'
    );
SELECT
    throws_ok(
        $$SELECT public.sign_in(repeat('x', 256), 'x')$$, 'PT400', NULL, 'more are not, of an id'
    );
SELECT throws_ok($$SELECT public.sign_in('x', repeat('x', 256))$$, 'PT400', NULL, 'of an address');
SELECT throws_ok($$SELECT public.sign_in('x', 'x', repeat('x', 256))$$, 'PT400', NULL, 'of a name');
SELECT
    throws_ok(
        $$SELECT public.sign_in('erased:x', 'x')$$,
        'PT400',
        NULL,
        'nobody comes in as an erased user'
    );
SELECT
    throws_ok(
        $$SELECT public.sign_in('x', 'x', NULL, '[]')$$, 'PT400', NULL, 'metadata is an object'
    );
SELECT throws_ok(
    $$SELECT public.sign_in('x', 'x', NULL, jsonb_build_object('x', repeat('x', 16376)))$$,
    'PT400',
    NULL,
    'and a small one'
);
SELECT lives_ok(
    $$SELECT public.sign_in('x', 'x', NULL, jsonb_build_object('x', repeat('x', 16375)))$$,
    'of 16384 bytes'
);

-- As alpha, a standard user; as tess, a team_admin
SELECT set_app_context('a0000000-0000-0000-0000-000000000001');
SELECT throws_ok(
    $$SELECT public.set_user_role('a0000000-0000-0000-0000-000000000001', 'super_admin')$$,
    'PT403',
    NULL,
    'alpha cannot make themselves a super_admin'
);
SELECT throws_ok(
    $$SELECT public.deactivate_user('b0000000-0000-0000-0000-000000000001')$$,
    'PT403',
    NULL,
    'nor deactivate beta'
);
SELECT throws_ok(
    $$SELECT public.reactivate_user('d0000000-0000-0000-0000-000000000001')$$,
    'PT403',
    NULL,
    'nor reactivate dora'
);
SELECT throws_ok(
    $$SELECT public.erase_user('b0000000-0000-0000-0000-000000000001')$$,
    'PT403',
    NULL,
    'nor erase beta'
);
SELECT set_app_context('e0000000-0000-0000-0000-000000000001');
SELECT throws_ok(
    $$SELECT public.set_user_role('a0000000-0000-0000-0000-000000000001', 'team_admin')$$,
    'PT403',
    NULL,
    'a team_admin changes no role'
);
SELECT throws_ok(
    $$SELECT public.erase_user('b0000000-0000-0000-0000-000000000001')$$,
    'PT403',
    NULL,
    'nor erases anyone'
);
SELECT set_app_context(NULL);
SELECT throws_ok(
    $$SELECT public.set_user_role('a0000000-0000-0000-0000-000000000001', 'team_admin')$$,
    'PT401',
    NULL,
    'nobody changes no role'
);
SELECT throws_ok(
    $$SELECT public.erase_user(NULL)$$, 'PT401', NULL, 'and erases nobody'
);

-- As sam, the one super_admin
SELECT set_app_context('f0000000-0000-0000-0000-000000000001');
SELECT throws_ok(
    $$SELECT public.set_user_role('a0000000-0000-0000-0000-000000000001', 'root')$$,
    'PT400',
    NULL,
    'there are three roles'
);
SELECT throws_ok(
    $$SELECT public.set_user_role('a0000000-0000-0000-0000-000000000001', NULL)$$,
    'PT400',
    NULL,
    'and NULL is none'
);
SELECT throws_ok(
    $$SELECT public.set_user_role('00000000-0000-0000-0000-000000000000', 'team_admin')$$,
    'PT404',
    NULL,
    'of somebody who is there'
);
SELECT throws_ok($$SELECT public.deactivate_user(NULL)$$, 'PT404', NULL, 'NULL is nobody');
SELECT throws_ok(
    $$SELECT public.set_user_role('f0000000-0000-0000-0000-000000000001', 'standard_user')$$,
    'PT409',
    NULL,
    'the last super_admin stays one'
);
SELECT throws_ok(
    $$SELECT public.deactivate_user('f0000000-0000-0000-0000-000000000001')$$,
    'PT409',
    NULL,
    'and active'
);
SELECT throws_ok(
    $$SELECT public.erase_user('f0000000-0000-0000-0000-000000000001')$$,
    'PT409',
    NULL,
    'and is not erased'
);
RESET ROLE;
SELECT tap.forget();
SET LOCAL ROLE portal_app;
SELECT is(
    public.set_user_role('f0000000-0000-0000-0000-000000000001', 'super_admin'),
    'unchanged',
    'what is so already stays'
);
SELECT is(public.reactivate_user('f0000000-0000-0000-0000-000000000001'), 'unchanged', 'here too');
SELECT is(public.deactivate_user('d0000000-0000-0000-0000-000000000001'), 'unchanged', 'and here');
RESET ROLE;
SELECT is(tap.trail(), NULL, 'and is not audited');
SET LOCAL ROLE portal_app;
SELECT is(
    public.set_user_role('a0000000-0000-0000-0000-000000000001', 'super_admin'),
    'changed',
    'alpha becomes a super_admin'
);
SELECT is(
    public.deactivate_user('b0000000-0000-0000-0000-000000000001'),
    'deactivated',
    'beta is deactivated'
);
SELECT is(
    public.reactivate_user('d0000000-0000-0000-0000-000000000001'),
    'reactivated',
    'dora is let in again'
);
SELECT is(
    public.set_user_role('d0000000-0000-0000-0000-000000000002', 'standard_user'), 'changed',
    'dan, who was a deactivated super_admin, is none any more'
);
SELECT is(
    public.set_user_role('f0000000-0000-0000-0000-000000000001', 'team_admin'),
    'changed',
    'sam may step down now'
);
SELECT throws_ok(
    $$SELECT public.set_user_role('a0000000-0000-0000-0000-000000000001', 'standard_user')$$,
    'PT403',
    NULL,
    'and can do nothing more'
);
RESET ROLE;
SELECT results_eq(
    $$SELECT azure_oid, role, is_active FROM public.users
    WHERE length(azure_oid) BETWEEN 3 AND 5 ORDER BY azure_oid$$,
    $$VALUES
    ('alpha'::varchar, 'super_admin'::varchar, true), ('beta', 'standard_user', false),
    ('carol', 'standard_user', true), ('dan', 'standard_user', false),
    ('dora', 'standard_user', true), ('sam', 'team_admin', true), ('tess', 'team_admin', true)$$,
    'each is what was said, and nobody else is changed'
);
SELECT results_eq(
    'SELECT action, resource_id, details FROM public.audit_logs ORDER BY action, details::text',
    $$VALUES
    ('role_changed'::varchar, 'd0000000-0000-0000-0000-000000000002'::uuid, '{"to": "standard_user", "from": "super_admin"}'::jsonb),
    ('role_changed', 'a0000000-0000-0000-0000-000000000001', '{"to": "super_admin", "from": "standard_user"}'),
    ('role_changed', 'f0000000-0000-0000-0000-000000000001', '{"to": "team_admin", "from": "super_admin"}'),
    ('user_deactivated', 'b0000000-0000-0000-0000-000000000001', '{"sessions_ended": 1}'),
    ('user_reactivated', 'd0000000-0000-0000-0000-000000000001', '{}')$$,
    'each change is audited once'
);
SELECT is(
    (
        SELECT count(*)
        FROM public.user_sessions
        WHERE is_active AND user_id = 'b0000000-0000-0000-0000-000000000001'
    ),
    0::bigint, 'the sessions of a deactivated user have ended'
);
SELECT
    is(
        (SELECT count(*) FROM public.user_sessions WHERE is_active), 5::bigint, 'and nobody else''s'
    );

-- Erasing, of somebody who is invited and has invited others
INSERT INTO public.team_invitations (team_id, user_id, invited_by)
VALUES
(
    '1b000000-0000-0000-0000-000000000001', 'a0000000-0000-0000-0000-000000000001',
    'f0000000-0000-0000-0000-000000000001'
),
(
    '1a000000-0000-0000-0000-000000000001', 'e0000000-0000-0000-0000-000000000001',
    'a0000000-0000-0000-0000-000000000001'
),
(
    '1b000000-0000-0000-0000-000000000001', 'e0000000-0000-0000-0000-000000000001',
    'f0000000-0000-0000-0000-000000000001'
);
SELECT tap.forget();
SET LOCAL ROLE portal_app;
SELECT set_app_context('a0000000-0000-0000-0000-000000000001');
SELECT
    is(
        public.erase_user('d0000000-0000-0000-0000-000000000001'),
        'erased',
        'a super_admin erases dora'
    );
SELECT throws_ok(
    $$SELECT public.erase_user('d0000000-0000-0000-0000-000000000001')$$, 'PT404', NULL, 'once'
);
SELECT throws_ok(
    $$SELECT public.reactivate_user('d0000000-0000-0000-0000-000000000001')$$,
    'PT404',
    NULL,
    'for ever'
);
SELECT is(
    public.set_user_role('f0000000-0000-0000-0000-000000000001', 'super_admin'),
    'changed',
    'sam is one again'
);
SELECT
    is(
        public.erase_user('a0000000-0000-0000-0000-000000000001'),
        'erased',
        'alpha erases themselves'
    );
RESET ROLE;
SELECT results_eq(
    'SELECT azure_oid, email, display_name, role, metadata, last_login_at, is_active, '
    'erased_at IS NOT NULL FROM public.users WHERE id = ''a0000000-0000-0000-0000-000000000001''',
    $$VALUES (
    'erased:a0000000-0000-0000-0000-000000000001'::varchar, 'erased'::varchar, NULL::varchar,
    'standard_user'::varchar, '{}'::jsonb, NULL::timestamptz, false, true)$$,
    'nothing personal is left'
);
SELECT results_eq(
    $$SELECT count(*) FROM public.user_sessions
    UNION ALL SELECT count(*) FROM public.user_server_configs
    UNION ALL SELECT count(*) FROM public.team_members
    UNION ALL SELECT count(*) FROM public.team_invitations
    UNION ALL SELECT count(*) FROM public.mcp_servers WHERE catalog_type = 'custom'$$,
    $$VALUES (4::bigint), (3), (1), (1), (0)$$, 'theirs is gone, others'' is not'
);
SELECT results_eq(
    $$SELECT user_id, resource_id, details FROM public.audit_logs
    WHERE action = 'user_erased' ORDER BY resource_id$$,
    $$VALUES
    ('a0000000-0000-0000-0000-000000000001'::uuid, 'a0000000-0000-0000-0000-000000000001'::uuid,
    '{"configs": 1, "sessions": 1, "custom_servers": 1}'::jsonb),
    ('a0000000-0000-0000-0000-000000000001', 'd0000000-0000-0000-0000-000000000001',
    '{"configs": 1, "sessions": 1, "custom_servers": 0}')$$,
    'each erasure is audited once'
);
SELECT throws_ok(
    $$INSERT INTO public.user_server_configs (user_id, server_id)
    VALUES ('a0000000-0000-0000-0000-000000000001', '0b000000-0000-0000-0000-000000000001')$$,
    'PT409', NULL, 'nothing can be made for them again'
);
SELECT throws_ok(
    $$INSERT INTO public.mcp_servers (name, image, catalog_type, created_by)
    VALUES ('x', 'x', 'custom', 'a0000000-0000-0000-0000-000000000001')$$,
    'PT409', NULL, 'nor by them'
);

SELECT tap.forget();
SELECT set_eq(
    'SELECT action, resource_type FROM tap.kept',
    $$VALUES
    ('login', 'user'), ('login_refused', 'user'), ('user_created', 'user'), ('user_updated', 'user'),
    ('role_changed', 'user'), ('user_deactivated', 'user'), ('user_reactivated', 'user'), ('user_erased', 'user')$$,
    'each entry says that it is of a user'
);

SELECT finish();
ROLLBACK;
