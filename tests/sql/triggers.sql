-- What triggers refuse and put right, in the row that is written and no other.
\ir begin.psql
\ir tenants.psql
SELECT plan(17);

\set alpha 'a0000000-0000-0000-0000-000000000001'
\set beta 'b0000000-0000-0000-0000-000000000001'

-- restart_requested_now: a restart is asked for now
SELECT c.id AS config FROM public.user_server_configs AS c WHERE c.user_id = :'alpha' \gset
SET LOCAL ROLE portal_app;
SELECT set_app_context(:'alpha');
UPDATE public.user_server_configs SET enabled = false WHERE id = :'config';
SELECT is(
    (SELECT c.restart_requested_at FROM public.user_server_configs AS c WHERE c.id = :'config'),
    NULL,
    'another change asks for no restart'
);
UPDATE public.user_server_configs SET restart_requested_at = '2020-01-01' WHERE id = :'config';
SELECT ok(
    (
        SELECT c.restart_requested_at BETWEEN CURRENT_TIMESTAMP AND clock_timestamp()
        FROM public.user_server_configs AS c
        WHERE c.id = :'config'
    ),
    'whatever time is given, a restart is asked for now'
);
UPDATE public.user_server_configs SET restart_requested_at = NULL WHERE id = :'config';
SELECT is(
    (SELECT c.restart_requested_at FROM public.user_server_configs AS c WHERE c.id = :'config'),
    NULL,
    'and NULL asks for none'
);

-- require_encrypted_config: a value has at most 256 kB
SELECT throws_ok(
    format(
        'UPDATE public.user_server_configs SET encrypted_config = %L WHERE id = %L',
        public.encrypt_sensitive_data(repeat('x', 200000), '0123456789abcdef'), :'config'
    ),
    '23514', 'encrypted_config is too long', 'a value that is well-formed and too long is refused'
);
SELECT lives_ok(
    format(
        'UPDATE public.user_server_configs SET encrypted_config = %L WHERE id = %L',
        public.encrypt_sensitive_data(repeat('x', 190000), '0123456789abcdef'), :'config'
    ),
    'one of 190000 bytes before it was encrypted is taken'
);

-- container_status_user: whose a container's status is
RESET ROLE;
SELECT c.id AS of_beta FROM public.user_server_configs AS c WHERE c.user_id = :'beta' \gset
SET LOCAL ROLE portal_runner;
SELECT lives_ok(
    format(
        'INSERT INTO public.container_status (config_id) VALUES (%L), (%L)', :'config', :'of_beta'
    ),
    'the runner takes notes on two configurations'
);
RESET ROLE;
SELECT results_eq(
    'SELECT s.config_id, s.user_id FROM public.container_status AS s ORDER BY s.user_id',
    format('VALUES (%L::uuid, %L::uuid), (%L, %L)', :'config', :'alpha', :'of_beta', :'beta'),
    'each is of the user whose the configuration is'
);

-- refuse_erased_user and refuse_erased_maker: nothing is made for who was erased
UPDATE public.users SET erased_at = CURRENT_TIMESTAMP, is_active = false WHERE id = :'alpha';
DELETE FROM public.team_members;
DELETE FROM public.user_server_configs;
CREATE TABLE tap.makes (what text, statement text);
INSERT INTO tap.makes VALUES
(
    'a session',
    $$INSERT INTO public.user_sessions (user_id, session_token, refresh_token, expires_at)
    VALUES (%L, 'x', 'y', CURRENT_TIMESTAMP)$$
),
(
    'a configuration',
    $$INSERT INTO public.user_server_configs (user_id, server_id)
    VALUES (%L, '0b000000-0000-0000-0000-000000000001')$$
),
(
    'a membership',
    $$INSERT INTO public.team_members (team_id, user_id)
    VALUES ('1a000000-0000-0000-0000-000000000001', %L)$$
),
(
    'an invitation',
    $$INSERT INTO public.team_invitations (team_id, user_id, invited_by)
    VALUES ('1a000000-0000-0000-0000-000000000001', %L, 'f0000000-0000-0000-0000-000000000001')$$
),
(
    'a server',
    $$INSERT INTO public.mcp_servers (name, image, catalog_type, created_by)
    VALUES ('x', 'x', 'custom', %L)$$
);
SELECT throws_ok(
    format(m.statement, :'alpha'), 'PT409', 'the user was erased',
    m.what || ' of who was erased is refused'
)
FROM tap.makes AS m;
SELECT lives_ok(format(m.statement, :'beta'), 'and ' || m.what || ' of another is not')
FROM tap.makes AS m;

SELECT finish();
ROLLBACK;
