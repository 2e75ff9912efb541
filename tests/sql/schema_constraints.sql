-- Every key, foreign key and check of the spec by name, and what each refuses.
\ir begin.psql
\ir tenants.psql
SET LOCAL search_path = tap;
SELECT plan(29);

CREATE TEMPORARY TABLE expected (table_name, constraint_name, definition) AS
VALUES
(
    'settings',
    'valid_retention',
    'CHECK ((((name)::text <> ALL ((ARRAY[''audit_retention''::character varying, '
    '''job_history''::character varying])::text[])) OR (value ~ ''^[1-9][0-9]{0,4} '
    'days$''::text)))'
),
('jobs', 'valid_job_name', 'CHECK (((name)::text ~ ''^[a-z0-9][a-z0-9_-]*$''::text))'),
(
    'settings',
    'valid_audit_partitions',
    'CHECK ((((name)::text <> ''audit_partitions''::text) OR (value = ANY '
    '(ARRAY[''monthly''::text, ''daily''::text]))))'
),
(
    'settings',
    'valid_session_idle',
    'CHECK ((((name)::text <> ''session_idle''::text) OR (value ~ ''^([2-9]|[1-9][0-9]+) '
    'minutes$''::text) OR (value ~ '' (hours|days)$''::text)))'
),
(
    'settings',
    'valid_session_interval',
    'CHECK ((((name)::text !~~ ''session_%''::text) OR (value ~ ''^[1-9][0-9]{0,5} '
    '(seconds|minutes|hours|days)$''::text)))'
),
(
    'users', 'valid_role',
    'CHECK (((role)::text = ANY (ARRAY[''super_admin''::text, ''team_admin''::text, '
    '''standard_user''::text])))'
),
(
    'users', 'users_pkey',
    'PRIMARY KEY (id)'
),
(
    'users', 'users_azure_oid_key',
    'UNIQUE (azure_oid)'
),
(
    'mcp_servers', 'valid_catalog_type',
    'CHECK (((catalog_type)::text = ANY (ARRAY[''predefined''::text, ''custom''::text])))'
),
(
    'mcp_servers', 'valid_image',
    'CHECK (public.valid_image_reference((image)::text))'
),
(
    'mcp_servers', 'mcp_servers_created_by_fkey',
    'FOREIGN KEY (created_by) REFERENCES public.users(id)'
),
(
    'mcp_servers', 'mcp_servers_pkey',
    'PRIMARY KEY (id)'
),
(
    'mcp_servers', 'unique_server_name',
    'UNIQUE (name, catalog_type)'
),
(
    'user_server_configs', 'valid_container_state',
    'CHECK (((container_state)::text = ANY (ARRAY[''pending''::text, ''creating''::text, '
    '''running''::text, ''stopping''::text, ''stopped''::text, ''error''::text])))'
),
(
    'user_server_configs', 'valid_encrypted_config',
    'CHECK (((encrypted_config IS NULL) OR public.sensitive_data_well_formed(encrypted_config)))'
),
(
    'user_server_configs', 'user_server_configs_server_id_fkey',
    'FOREIGN KEY (server_id) REFERENCES public.mcp_servers(id) ON DELETE CASCADE'
),
(
    'user_server_configs', 'user_server_configs_user_id_fkey',
    'FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE'
),
(
    'user_server_configs', 'user_server_configs_pkey',
    'PRIMARY KEY (id)'
),
(
    'user_server_configs', 'unique_user_server',
    'UNIQUE (user_id, server_id)'
),
(
    'user_sessions', 'user_sessions_user_id_fkey',
    'FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE'
),
(
    'user_sessions', 'user_sessions_pkey',
    'PRIMARY KEY (id)'
),
(
    'user_sessions', 'user_sessions_refresh_token_key',
    'UNIQUE (refresh_token)'
),
(
    'user_sessions', 'user_sessions_session_token_key',
    'UNIQUE (session_token)'
),
(
    'audit_logs', 'valid_action',
    'CHECK (((action)::text = ANY (ARRAY[''login''::text, ''logout''::text, '
    '''server_enabled''::text, ''server_disabled''::text, ''config_updated''::text, '
    '''config_exported''::text, ''config_imported''::text, ''bulk_enable''::text, '
    '''bulk_disable''::text, ''user_created''::text, ''user_updated''::text, '
    '''role_changed''::text, ''custom_server_added''::text, '
    '''custom_server_removed''::text, ''login_refused''::text, ''session_reuse_detected''::text, '
    '''user_deactivated''::text, ''user_reactivated''::text, ''user_erased''::text, '
    '''server_restart_requested''::text, ''team_created''::text, ''team_disbanded''::text, '
    '''team_member_invited''::text, ''team_member_joined''::text, '
    '''team_invitation_withdrawn''::text, ''team_member_removed''::text, '
    '''team_role_changed''::text, ''container_started''::text, ''container_stopped''::text, '
    '''container_failed''::text])))'
),
(
    'audit_logs', 'audit_logs_user_id_fkey',
    'FOREIGN KEY (user_id) REFERENCES public.users(id)'
),
(
    'audit_logs', 'audit_logs_pkey',
    'PRIMARY KEY (id, "timestamp")'
),
(
    'teams', 'teams_created_by_fkey',
    'FOREIGN KEY (created_by) REFERENCES public.users(id)'
),
(
    'teams', 'teams_pkey',
    'PRIMARY KEY (id)'
),
(
    'team_members', 'valid_team_role',
    'CHECK (((role)::text = ANY (ARRAY[''member''::text, ''admin''::text])))'
),
(
    'team_invitations', 'valid_invited_role',
    'CHECK (((role)::text = ANY (ARRAY[''member''::text, ''admin''::text])))'
),
(
    'container_status', 'container_status_pkey',
    'PRIMARY KEY (config_id)'
),
(
    'container_status', 'container_status_config_id_fkey',
    'FOREIGN KEY (config_id) REFERENCES public.user_server_configs(id) ON DELETE CASCADE'
),
(
    'container_status', 'valid_message_length',
    'CHECK ((length(message) <= 1000))'
),
(
    'container_status', 'valid_lease',
    'CHECK (((lease_owner IS NULL) = (lease_until IS NULL)))'
),
(
    'team_invitations', 'team_invitations_pkey',
    'PRIMARY KEY (team_id, user_id)'
),
(
    'team_invitations', 'team_invitations_team_id_fkey',
    'FOREIGN KEY (team_id) REFERENCES public.teams(id) ON DELETE CASCADE'
),
(
    'team_invitations', 'team_invitations_user_id_fkey',
    'FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE'
),
(
    'team_invitations', 'team_invitations_invited_by_fkey',
    'FOREIGN KEY (invited_by) REFERENCES public.users(id) ON DELETE CASCADE'
),
(
    'team_members', 'team_members_team_id_fkey',
    'FOREIGN KEY (team_id) REFERENCES public.teams(id) ON DELETE CASCADE'
),
(
    'team_members', 'team_members_user_id_fkey',
    'FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE'
),
(
    'team_members', 'team_members_pkey',
    'PRIMARY KEY (id)'
),
(
    'team_members', 'unique_team_member',
    'UNIQUE (team_id, user_id)'
),
(
    'settings', 'settings_pkey',
    'PRIMARY KEY (name)'
),
(
    'settings', 'valid_team_admin_scope',
    'CHECK ((((name)::text <> ''team_admin_scope''::text)'
    ' OR (value = ANY (ARRAY[''everyone''::text, ''teams''::text]))))'
),
(
    'settings', 'valid_custom_servers',
    'CHECK ((((name)::text <> ''custom_servers''::text)'
    ' OR (value = ANY (ARRAY[''everyone''::text, ''admins''::text, ''nobody''::text]))))'
),
(
    'jobs', 'jobs_pkey',
    'PRIMARY KEY (name)'
);

SELECT set_eq(
    $$
    SELECT t.relname::text, o.conname::text, pg_get_constraintdef(o.oid)
    FROM pg_constraint AS o
    INNER JOIN pg_class AS t ON t.oid = o.conrelid
    WHERE
        t.relnamespace = 'public'::regnamespace
        AND t.relname IN (SELECT e.table_name FROM expected AS e)
        AND o.contype IN ('p', 'u', 'f', 'c')
        AND o.convalidated
    $$,
    'TABLE expected',
    'every constraint is there under its name, as the spec has it, and valid'
);

-- As the owner, whom no policy stops: what is refused here, the constraint refuses
SET LOCAL ROLE mcp_admin;

SELECT throws_ok(
    $$UPDATE public.users SET role = 'root' WHERE azure_oid = 'alpha'$$,
    '23514', NULL, 'valid_role refuses a role that is none of the three'
);
SELECT lives_ok(
    $$UPDATE public.users SET role = r
    FROM unnest(ARRAY['super_admin', 'team_admin', 'standard_user']) AS r
    WHERE azure_oid = 'alpha'$$,
    'valid_role takes the three roles'
);
SELECT throws_ok(
    $$INSERT INTO public.users (azure_oid, email) VALUES ('alpha', 'other@example.org')$$,
    '23505', NULL, 'users_azure_oid_key refuses an Azure object id twice'
);
SELECT throws_ok(
    $$INSERT INTO public.users (email) VALUES ('other@example.org')$$,
    '23502', NULL, 'a user without an Azure object id is refused'
);
SELECT throws_ok(
    $$INSERT INTO public.users (azure_oid) VALUES ('other')$$,
    '23502', NULL, 'a user without an address is refused'
);
SELECT throws_ok(
    $$UPDATE public.users SET role = NULL WHERE azure_oid = 'alpha'$$,
    '23502', NULL, 'a user without a role is refused'
);
SELECT throws_ok(
    $$INSERT INTO public.users (azure_oid, email) VALUES (repeat('x', 256), 'other@example.org')$$,
    '22001', NULL, 'an Azure object id over 255 characters is refused, not cut'
);

SELECT throws_ok(
    $$INSERT INTO public.mcp_servers (name, image, catalog_type) VALUES ('x', 'x', 'other')$$,
    '23514', NULL, 'valid_catalog_type refuses a type that is neither predefined nor custom'
);
SELECT throws_ok(
    $$INSERT INTO public.mcp_servers (name, image) VALUES ('x', 'an image')$$,
    '23514', NULL, 'valid_image refuses what is no image reference'
);
SELECT throws_ok(
    $$INSERT INTO public.mcp_servers (name, image, catalog_type)
    VALUES ('alpha-tool', 'x', 'custom')$$,
    '23505', NULL, 'unique_server_name refuses a name twice within a type'
);
SELECT lives_ok(
    $$INSERT INTO public.mcp_servers (name, image, catalog_type)
    VALUES ('alpha-tool', 'x', 'predefined')$$,
    'unique_server_name takes a name once in each type'
);
SELECT throws_ok(
    $$INSERT INTO public.mcp_servers (name) VALUES ('x')$$,
    '23502', NULL, 'a server without an image is refused'
);
SELECT throws_ok(
    $$INSERT INTO public.mcp_servers (name, image, created_by)
    VALUES ('x', 'x', public.uuid_generate_v4())$$,
    '23503', NULL, 'mcp_servers_created_by_fkey refuses a maker who is no user'
);

SELECT throws_ok(
    $$UPDATE public.user_server_configs SET container_state = 'paused'$$,
    '23514', NULL, 'valid_container_state refuses a state that is none of the six'
);
SELECT lives_ok(
    $$UPDATE public.user_server_configs SET container_state = s
    FROM unnest(ARRAY['pending', 'creating', 'running', 'stopping', 'stopped', 'error', NULL]) AS s$$,
    'valid_container_state takes the six states, and none'
);
SELECT throws_ok(
    $$INSERT INTO public.user_server_configs (user_id, server_id)
    SELECT c.user_id, c.server_id FROM public.user_server_configs AS c LIMIT 1$$,
    '23505', NULL, 'unique_user_server refuses a second configuration of a user for a server'
);
SELECT throws_ok(
    $$INSERT INTO public.user_server_configs (user_id, server_id)
    SELECT public.uuid_generate_v4(), s.id FROM public.mcp_servers AS s LIMIT 1$$,
    '23503', NULL, 'user_server_configs_user_id_fkey refuses a user who is not there'
);
SELECT throws_ok(
    $$INSERT INTO public.user_server_configs (user_id, server_id)
    SELECT u.id, public.uuid_generate_v4() FROM public.users AS u LIMIT 1$$,
    '23503', NULL, 'user_server_configs_server_id_fkey refuses a server that is not there'
);

SELECT throws_ok(
    $$UPDATE public.user_sessions SET session_token = 'same'$$,
    '23505', NULL, 'user_sessions_session_token_key refuses a token twice'
);
SELECT throws_ok(
    $$UPDATE public.user_sessions SET refresh_token = 'same'$$,
    '23505', NULL, 'user_sessions_refresh_token_key refuses a refresh token twice'
);
SELECT throws_ok(
    $$UPDATE public.user_sessions SET expires_at = NULL$$,
    '23502', NULL, 'a session that never ends is refused'
);
SELECT throws_ok(
    $$UPDATE public.user_sessions SET user_id = public.uuid_generate_v4()$$,
    '23503', NULL, 'user_sessions_user_id_fkey refuses a user who is not there'
);

SELECT throws_ok(
    $$INSERT INTO public.audit_logs (action) VALUES ('looked')$$,
    '23514', NULL, 'valid_action refuses any other action'
);
SELECT lives_ok(
    $$INSERT INTO public.audit_logs (action)
    SELECT a FROM unnest(ARRAY[
        'login', 'logout', 'server_enabled', 'server_disabled', 'config_updated', 'config_exported',
        'config_imported', 'bulk_enable', 'bulk_disable', 'user_created', 'user_updated', 'role_changed',
        'custom_server_added', 'custom_server_removed', 'login_refused', 'session_reuse_detected',
        'user_deactivated', 'user_reactivated', 'user_erased', 'server_restart_requested', 'team_created',
        'team_disbanded', 'team_member_invited', 'team_member_joined', 'team_invitation_withdrawn',
        'team_member_removed', 'team_role_changed', 'container_started', 'container_stopped',
        'container_failed'
    ]) AS a$$,
    'valid_action takes the document''s fourteen actions and ours'
);
SELECT throws_ok(
    $$INSERT INTO public.audit_logs (action, user_id) VALUES ('login', public.uuid_generate_v4())$$,
    '23503', NULL, 'audit_logs_user_id_fkey refuses a user who is not there'
);

SELECT throws_ok(
    $$INSERT INTO public.team_members (team_id, user_id)
    SELECT m.team_id, m.user_id FROM public.team_members AS m LIMIT 1$$,
    '23505', NULL, 'unique_team_member refuses a member twice'
);

-- What goes with a user, and what keeps one
INSERT INTO public.users (id, azure_oid, email)
VALUES ('c0000000-0000-0000-0000-000000000001', 'gamma', 'gamma@example.org');
INSERT INTO public.user_server_configs (user_id, server_id)
VALUES ('c0000000-0000-0000-0000-000000000001', '0b000000-0000-0000-0000-000000000001');
INSERT INTO public.user_sessions (user_id, session_token, expires_at)
VALUES ('c0000000-0000-0000-0000-000000000001', 'gamma', 'infinity');
DELETE FROM public.users WHERE azure_oid = 'gamma';
SELECT is_empty(
    $$
    SELECT 1 FROM public.user_server_configs
    WHERE user_id = 'c0000000-0000-0000-0000-000000000001'
    UNION ALL
    SELECT 1 FROM public.user_sessions
    WHERE user_id = 'c0000000-0000-0000-0000-000000000001'
    $$,
    'a user''s configurations and sessions go with the user'
);
INSERT INTO public.audit_logs (action, user_id)
VALUES ('login', 'b0000000-0000-0000-0000-000000000001');
SELECT throws_ok(
    $$DELETE FROM public.users WHERE azure_oid = 'beta'$$,
    '23503', NULL, 'a user with an audit trail stays'
);

SELECT finish();
ROLLBACK;
