-- Every function: its signature, owner, rights, pinned settings, and exactly who may call it.
\ir begin.psql
SET LOCAL search_path = tap;
SELECT plan(8);

-- name, arguments, result, owner, SECURITY DEFINER, volatility, settings, roles that may call it
CREATE TEMPORARY TABLE expected AS
VALUES
('run_job', 'IN p_name text', NULL, 'mcp_admin', false, 'v', '', 'portal_maintenance'),
(
    'drop_old_audit_logs',
    'p_now timestamp with time zone',
    'integer',
    'mcp_admin',
    false,
    'v',
    'search_path=pg_catalog, pg_temp; TimeZone=UTC; lock_timeout=100ms',
    ''
),
(
    'audit_partitions',
    '',
    'TABLE(partition regclass, starts timestamp with time zone, ends timestamp with time zone)',
    'mcp_admin',
    false,
    's',
    'search_path=pg_catalog, pg_temp; TimeZone=UTC; DateStyle=ISO, YMD',
    'portal_maintenance portal_monitor'
),
(
    'refuse_audit_change',
    '',
    'trigger',
    'mcp_admin',
    false,
    'v',
    'search_path=pg_catalog, pg_temp',
    ''
),
(
    'cleanup_job_runs',
    'p_now timestamp with time zone DEFAULT CURRENT_TIMESTAMP',
    'integer',
    'mcp_admin',
    false,
    'v',
    'search_path=pg_catalog, pg_temp; TimeZone=UTC',
    'portal_maintenance'
),
(
    'remove_expired_sessions',
    'p_now timestamp with time zone',
    'integer',
    'mcp_admin',
    false,
    'v',
    'search_path=pg_catalog, pg_temp; TimeZone=UTC; lock_timeout=100ms',
    ''
),
(
    'lock_super_admins_and',
    'p_user_id uuid',
    'void',
    'portal_api',
    false,
    'v',
    'search_path=pg_catalog, pg_temp',
    ''
),
(
    'create_session',
    '',
    'TABLE(session_id uuid, session_token text, refresh_token text, expires_at timestamp '
    'with time zone)',
    'portal_api',
    true,
    'v',
    'search_path=pg_catalog, pg_temp',
    'portal_app'
),
(
    'end_all_sessions',
    'p_user_id uuid DEFAULT NULL::uuid',
    'integer',
    'portal_api',
    true,
    'v',
    'search_path=pg_catalog, pg_temp',
    'portal_app'
),
(
    'reactivate_user',
    'p_user_id uuid',
    'text',
    'portal_api',
    true,
    'v',
    'search_path=pg_catalog, pg_temp',
    'portal_app'
),
(
    'deactivate_user',
    'p_user_id uuid',
    'text',
    'portal_api',
    true,
    'v',
    'search_path=pg_catalog, pg_temp',
    'portal_app'
),
(
    'set_user_role',
    'p_user_id uuid, p_role text',
    'text',
    'portal_api',
    true,
    'v',
    'search_path=pg_catalog, pg_temp',
    'portal_app'
),
(
    'lock_user',
    'p_user_id uuid',
    'TABLE(role text, is_active boolean, is_last boolean)',
    'portal_api',
    false,
    'v',
    'search_path=pg_catalog, pg_temp',
    ''
),
(
    'end_session',
    'p_session_id uuid DEFAULT NULL::uuid',
    'integer',
    'portal_api',
    true,
    'v',
    'search_path=pg_catalog, pg_temp',
    'portal_app'
),
(
    'authenticate',
    'p_session_token text, p_ip_address inet DEFAULT NULL::inet, p_user_agent text DEFAULT '
    'NULL::text',
    'TABLE(user_id uuid, session_id uuid, role text, expires_at timestamp with time zone)',
    'portal_api',
    true,
    'v',
    'search_path=pg_catalog, pg_temp',
    'portal_app'
),
(
    'erase_user',
    'p_user_id uuid',
    'text',
    'portal_api',
    true,
    'v',
    'search_path=pg_catalog, pg_temp',
    'portal_app'
),
(
    'sign_in',
    'p_azure_oid text, p_email text, p_display_name text DEFAULT NULL::text, p_metadata '
    'jsonb DEFAULT NULL::jsonb',
    'TABLE(outcome text, user_id uuid, role text, is_new boolean)',
    'portal_api',
    true,
    'v',
    'search_path=pg_catalog, pg_temp',
    'portal_app'
),
(
    'refresh_session',
    'p_refresh_token text, p_ip_address inet DEFAULT NULL::inet, p_user_agent text DEFAULT '
    'NULL::text',
    'TABLE(outcome text, session_id uuid, session_token text, refresh_token text, expires_at '
    'timestamp with time zone)',
    'portal_api',
    true,
    'v',
    'search_path=pg_catalog, pg_temp',
    'portal_app'
),
(
    'end_sessions',
    'p_user_id uuid, p_family_id uuid',
    'integer',
    'portal_api',
    false,
    'v',
    'search_path=pg_catalog, pg_temp',
    ''
),
(
    'refuse_last_super_admin',
    'p_is_last boolean',
    'void',
    'portal_api',
    false,
    'v',
    'search_path=pg_catalog, pg_temp',
    ''
),
(
    'refuse_erased_user',
    '',
    'trigger',
    'portal_api',
    true,
    'v',
    'search_path=pg_catalog, pg_temp',
    ''
),
('token_digest', 'p_token text', 'text', 'portal_api', false, 's', '', ''),
(
    'refuse_erased_maker',
    '',
    'trigger',
    'portal_api',
    true,
    'v',
    'search_path=pg_catalog, pg_temp',
    ''
),
(
    'open_session',
    'p_user_id uuid, p_family_id uuid, p_renewable_until timestamp with time zone',
    'TABLE(session_id uuid, session_token text, refresh_token text, expires_at timestamp '
    'with time zone)',
    'portal_api',
    false,
    'v',
    'search_path=pg_catalog, pg_temp',
    ''
),
(
    'update_updated_at', '', 'trigger',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', ''
),
(
    'current_app_user_id', '', 'uuid',
    'mcp_admin', false, 's', '', 'portal_api portal_app'
),
(
    'app_narrowed_to', '', 'uuid[]',
    'portal_api', true, 's', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'app_team_ids', '', 'uuid[]',
    'portal_api', true, 's', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'create_audit_log',
    'p_user_id uuid, p_action character varying, p_resource_type character varying, '
    'p_resource_id uuid, p_details jsonb, p_ip_address inet, p_user_agent text',
    'uuid',
    'portal_api', true, 'v', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'api_version', '', 'text',
    'mcp_admin', false, 'i', '', 'portal_app portal_monitor portal_runner'
),
(
    'set_app_context',
    'p_user_id uuid, p_ip_address inet DEFAULT NULL::inet, p_user_agent text DEFAULT NULL::text, '
    'p_session_id text DEFAULT NULL::text',
    'void',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', 'portal_api portal_app'
),
(
    'require_app_user', '', 'uuid',
    'mcp_admin', false, 's', 'search_path=pg_catalog, pg_temp', 'portal_api portal_app'
),
(
    'require_super_admin', '', 'uuid',
    'mcp_admin', false, 's', 'search_path=pg_catalog, pg_temp', 'portal_api portal_app'
),
(
    'restart_requested_now', '', 'trigger',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', ''
),
(
    'valid_image_reference', 'p_image text', 'boolean',
    'mcp_admin', false, 'i', '', 'portal_app'
),
(
    'app_may_add_servers', '', 'boolean',
    'portal_api', true, 's', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'hold_app_user', '', 'uuid',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', 'portal_api portal_app'
),
(
    'enable_server', 'p_server_id uuid', 'TABLE(config_id uuid, outcome text)',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'disable_server', 'p_server_id uuid', 'TABLE(config_id uuid, outcome text)',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'require_server_ids', 'p_server_ids uuid[]', 'void',
    'mcp_admin', false, 'i', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'bulk_enable', 'p_server_ids uuid[]', 'TABLE(server_id uuid, config_id uuid, outcome text)',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'bulk_disable', 'p_server_ids uuid[]', 'TABLE(server_id uuid, config_id uuid, outcome text)',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'custom_server_fault', 'p_name text, p_definition jsonb', 'text',
    'mcp_admin', false, 'i', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'add_custom_server',
    'p_name text, p_image text, p_display_name text DEFAULT NULL::text, '
    'p_description text DEFAULT NULL::text, p_category text DEFAULT NULL::text, '
    'p_tags text[] DEFAULT NULL::text[], p_metadata jsonb DEFAULT NULL::jsonb, '
    'p_version text DEFAULT NULL::text',
    'uuid',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'remove_custom_server', 'p_server_id uuid', 'void',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'update_server_config',
    'p_server_id uuid, p_encrypted_config text DEFAULT NULL::text, '
    'p_config_metadata jsonb DEFAULT NULL::jsonb, p_clear_secret boolean DEFAULT false, '
    'p_expected_updated_at timestamp with time zone DEFAULT NULL::timestamp with time zone',
    'TABLE(config_id uuid, outcome text, updated_at timestamp with time zone)',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'request_server_restart', 'p_config_id uuid', 'timestamp with time zone',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'container_status_user', '', 'trigger',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', ''
),
(
    'audit_container', 'p_action text, p_config_id uuid, p_details jsonb', 'uuid',
    'portal_api', true, 'v', 'search_path=pg_catalog, pg_temp', 'portal_runner'
),
(
    'claim_container', 'p_config_id uuid, p_owner text, p_lease interval', 'bigint',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', 'portal_runner'
),
(
    'record_container_state',
    'p_config_id uuid, p_fencing_token bigint, p_state text, '
    'p_container_id text DEFAULT NULL::text, p_reason text DEFAULT NULL::text, '
    'p_message text DEFAULT NULL::text, p_restart_count bigint DEFAULT 0, '
    'p_retry_after interval DEFAULT NULL::interval, p_generation_wanted text DEFAULT NULL::text, '
    'p_generation_seen text DEFAULT NULL::text, '
    'p_restart_served timestamp with time zone DEFAULT NULL::timestamp with time zone', 'boolean',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', 'portal_runner'
),
(
    'export_configs', 'p_secrets jsonb DEFAULT NULL::jsonb', 'jsonb',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'config_entry_fault', 'p_entry jsonb', 'text',
    'mcp_admin', false, 'i', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'import_configs',
    'p_document jsonb, p_all_or_nothing boolean DEFAULT true, p_overwrite boolean DEFAULT false',
    'TABLE(ordinal integer, name text, outcome text, reason text, secret_missing boolean)',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'app_every_team_from', '', 'uuid',
    'portal_api', true, 's', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'app_led_team_ids', '', 'uuid[]',
    'portal_api', true, 's', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'app_invited_team_ids', '', 'uuid[]',
    'portal_api', true, 's', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'require_team', 'p_team_id uuid', 'text',
    'mcp_admin', false, 's', 'search_path=pg_catalog, pg_temp', 'portal_api'
),
(
    'require_team_admin', 'p_team_id uuid', 'text',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', 'portal_api'
),
(
    'require_other_team_admin', 'p_team_id uuid, p_user_id uuid', 'void',
    'mcp_admin', false, 's', 'search_path=pg_catalog, pg_temp', 'portal_api'
),
(
    'require_reach_to_give', 'p_user_id uuid, p_role text', 'void',
    'mcp_admin', false, 's', 'search_path=pg_catalog, pg_temp', 'portal_api'
),
(
    'require_team_role', 'p_role text', 'void',
    'mcp_admin', false, 'i', 'search_path=pg_catalog, pg_temp', 'portal_api'
),
(
    'create_team', 'p_name text, p_description text DEFAULT NULL::text', 'uuid',
    'portal_api', true, 'v', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'disband_team', 'p_team_id uuid', 'text',
    'portal_api', true, 'v', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'invite_team_member',
    'p_team_id uuid, p_user_id uuid, p_role text DEFAULT ''member''::text',
    'text',
    'portal_api', true, 'v', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'accept_team_invitation', 'p_team_id uuid', 'text',
    'portal_api', true, 'v', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'decline_team_invitation', 'p_team_id uuid', 'text',
    'portal_api', true, 'v', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'withdraw_team_invitation', 'p_team_id uuid, p_user_id uuid', 'text',
    'portal_api', true, 'v', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'set_team_role', 'p_team_id uuid, p_user_id uuid, p_role text', 'text',
    'portal_api', true, 'v', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'remove_team_member', 'p_team_id uuid, p_user_id uuid', 'text',
    'portal_api', true, 'v', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'leave_team', 'p_team_id uuid', 'text',
    'portal_api', true, 'v', 'search_path=pg_catalog, pg_temp', 'portal_app'
),
(
    'read_audit_log',
    'p_user_id uuid DEFAULT NULL::uuid, p_action text DEFAULT NULL::text, '
    'p_resource_type text DEFAULT NULL::text, p_resource_id uuid DEFAULT '
    'NULL::uuid, p_from timestamp with time zone DEFAULT NULL::timestamp with time '
    'zone, p_to timestamp with time zone DEFAULT NULL::timestamp with time zone, '
    'p_before timestamp with time zone DEFAULT NULL::timestamp with time zone, '
    'p_before_id uuid DEFAULT NULL::uuid, p_limit integer DEFAULT 50',
    'TABLE(id uuid, user_id uuid, action character varying, resource_type character '
    'varying, resource_id uuid, details jsonb, ip_address inet, user_agent text, '
    'session_id character varying, "timestamp" timestamp with time zone)',
    'portal_api', true, 's', 'search_path=pg_catalog, pg_temp; plan_cache_mode=force_generic_plan',
    'portal_app'
),
(
    'notify_config_change', '', 'trigger',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', ''
),
(
    'notify_row_change', '', 'trigger',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', ''
),
(
    'ensure_audit_partitions',
    'p_months_ahead integer DEFAULT 3, p_now timestamp with time zone DEFAULT CURRENT_TIMESTAMP',
    'integer',
    'mcp_admin', true, 'v',
    'search_path=pg_catalog, pg_temp; TimeZone=UTC; DateStyle=ISO, YMD; lock_timeout=100ms',
    'portal_maintenance'
),
(
    'cleanup_expired_sessions', '', 'integer',
    'mcp_admin', true, 'v', 'search_path=pg_catalog, pg_temp', 'portal_maintenance'
),
(
    'cleanup_old_audit_logs', '', 'integer',
    'mcp_admin', true, 'v', 'search_path=pg_catalog, pg_temp', 'portal_maintenance'
),
(
    'base64url_encode', 'value bytea', 'text',
    'mcp_admin', false, 'i', '', 'portal_api portal_app portal_runner'
),
(
    'base64url_decode', 'value text', 'bytea',
    'mcp_admin', false, 'i', 'search_path=pg_catalog, pg_temp', 'portal_app portal_runner'
),
(
    'sensitive_data_key', 'key text', 'bytea',
    'mcp_admin', false, 'i', 'search_path=pg_catalog, pg_temp', 'portal_app portal_runner'
),
(
    'a256cbc_hs512_tag', 'aad bytea, iv bytea, ciphertext bytea, mac_key bytea', 'bytea',
    'mcp_admin', false, 'i', '', 'portal_app portal_runner'
),
(
    'base64url_length', 'value text', 'integer',
    'mcp_admin', false, 'i', '', 'portal_app portal_maintenance portal_monitor portal_runner'
),
(
    'sensitive_data_context', 'table_name text, column_name text, user_id uuid, server_id uuid',
    'text',
    'mcp_admin', false, 'i', '', 'portal_app portal_maintenance portal_runner'
),
(
    'sensitive_data_header', 'encrypted_data text, OUT kid text, OUT enc text, OUT context text',
    'record',
    'mcp_admin', false, 'i', 'search_path=pg_catalog, pg_temp',
    'portal_app portal_maintenance portal_monitor portal_runner'
),
(
    'sensitive_data_kid', 'encrypted_data text', 'text',
    'mcp_admin', false, 'i', '', 'portal_app portal_maintenance portal_runner'
),
(
    'sensitive_data_well_formed', 'encrypted_data text', 'boolean',
    'mcp_admin', false, 'i', '', 'portal_app portal_maintenance portal_runner'
),
(
    'sensitive_data_derived_key', 'key text', 'bytea',
    'mcp_admin', false, 'i', 'search_path=pg_catalog, pg_temp', 'portal_app portal_runner'
),
(
    'sensitive_data_thumbprint', 'key text', 'text',
    'mcp_admin', false, 'i', 'search_path=pg_catalog, pg_temp', 'portal_app portal_runner'
),
(
    'sensitive_data_protected', 'kid text, context text', 'text',
    'mcp_admin', false, 'i', 'search_path=pg_catalog, pg_temp', 'portal_app portal_runner'
),
(
    'sensitive_data_sealed', 'protected text, iv_and_ciphertext bytea, mac_key bytea', 'text',
    'mcp_admin', false, 'i', '', 'portal_app portal_runner'
),
(
    'sensitive_data_opened', 'encrypted_data text, key bytea, context text, kid text', 'text',
    'mcp_admin', false, 's', 'search_path=pg_catalog, pg_temp', 'portal_app portal_runner'
),
(
    'encrypt_sensitive_data', 'data text, key text', 'text',
    'mcp_admin', false, 'v', '', 'portal_app portal_runner'
),
(
    'encrypt_sensitive_data', 'data text, key text, context text', 'text',
    'mcp_admin', false, 'v', '', 'portal_app portal_runner'
),
(
    'encrypt_sensitive_data', 'data text, key text, context text, kid text', 'text',
    'mcp_admin', false, 'v', '', 'portal_app portal_runner'
),
(
    'decrypt_sensitive_data', 'encrypted_data text, key text', 'text',
    'mcp_admin', false, 's', '', 'portal_app portal_runner'
),
(
    'decrypt_sensitive_data', 'encrypted_data text, key text, context text', 'text',
    'mcp_admin', false, 's', '', 'portal_app portal_runner'
),
(
    'decrypt_sensitive_data', 'encrypted_data text, key text, context text, kid text', 'text',
    'mcp_admin', false, 's', '', 'portal_app portal_runner'
),
(
    'decrypt_legacy_sensitive_data', 'encrypted_data text, key text', 'text',
    'mcp_admin', false, 's', 'search_path=pg_catalog, pg_temp', 'portal_maintenance'
),
(
    'require_encrypted_config', '', 'trigger',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', ''
),
(
    'sync_cron_jobs', '', 'integer',
    'mcp_admin', false, 'v', 'search_path=pg_catalog, pg_temp', ''
);

CREATE TEMPORARY VIEW ours AS
SELECT
    p.oid,
    p.proname,
    p.prolang,
    p.prorettype,
    p.proowner,
    p.prosecdef,
    p.provolatile,
    p.proconfig,
    p.proacl,
    p.prosqlbody
FROM pg_proc AS p
WHERE
    p.pronamespace = 'public'::regnamespace
    AND NOT EXISTS (SELECT 1 FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e');

SELECT set_eq(
    $$
    SELECT
        p.proname::text,
        pg_get_function_arguments(p.oid),
        pg_get_function_result(p.oid),
        p.proowner::regrole::text,
        p.prosecdef,
        p.provolatile::text,
        coalesce(array_to_string(p.proconfig, '; '), '') AS settings,
        coalesce(
            (
                SELECT string_agg(r.rolname::text, ' ' ORDER BY r.rolname::text)
                FROM aclexplode(p.proacl) AS a
                INNER JOIN pg_roles AS r ON r.oid = a.grantee
                WHERE a.grantee <> p.proowner
            ),
            ''
        ) AS callers
    FROM ours AS p
    $$,
    'TABLE expected',
    'every function is as it should be, and there is no other'
);

SELECT is_empty(
    $$
    SELECT p.oid::regprocedure
    FROM ours AS p
    WHERE
        p.proacl IS NULL
        OR EXISTS (SELECT 1 FROM aclexplode(p.proacl) AS a WHERE a.grantee = 0)
    $$,
    'PUBLIC executes no function of ours'
);
SELECT is_empty(
    $$
    SELECT p.oid::regprocedure
    FROM ours AS p
    INNER JOIN pg_language AS l ON l.oid = p.prolang
    WHERE
        NOT (p.proconfig @> ARRAY['search_path=pg_catalog, pg_temp'])
        AND NOT (l.lanname = 'sql' AND p.prosqlbody IS NOT NULL AND NOT p.prosecdef)
        -- Each of its names is qualified: encryption_impostors.sql.
        AND p.proname <> 'sensitive_data_sealed'
    $$,
    'every function pins its search path, but for SQL bodies whose names were resolved when made'
);
SELECT is_empty(
    $$SELECT p.oid::regprocedure FROM ours AS p WHERE obj_description(p.oid, 'pg_proc') IS NULL$$,
    'every function says what it does'
);

-- A function made tomorrow, by the owner and by portal_api
SET LOCAL ROLE mcp_admin;
CREATE FUNCTION public.made_tomorrow() RETURNS integer LANGUAGE sql RETURN 1;
CREATE TYPE public.type_of_tomorrow AS (n integer);
SELECT is_empty(
    $$
    SELECT p.oid
    FROM pg_proc AS p
    WHERE
        p.oid = 'public.made_tomorrow()'::regprocedure
        AND has_function_privilege('portal_app', p.oid, 'EXECUTE')
    $$,
    'a function that the owner makes tomorrow is closed'
);
SELECT ok(
    NOT has_type_privilege('portal_app', 'public.type_of_tomorrow', 'USAGE'),
    'a type that the owner makes tomorrow is closed'
);
RESET ROLE;
GRANT CREATE ON SCHEMA public TO portal_api;
SET LOCAL ROLE portal_api;
CREATE FUNCTION public.made_by_api() RETURNS integer LANGUAGE sql RETURN 1;
RESET ROLE;
SELECT ok(
    NOT has_function_privilege('portal_app', 'public.made_by_api()', 'EXECUTE'),
    'a function that portal_api makes tomorrow is closed'
);
REVOKE CREATE ON SCHEMA public FROM portal_api;

SET LOCAL ROLE portal_app;
SELECT throws_ok(
    'SELECT public.cleanup_expired_sessions()', '42501', NULL,
    'a service that calls a cleanup is refused'
);

SELECT finish();
ROLLBACK;
