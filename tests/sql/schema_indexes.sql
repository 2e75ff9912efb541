-- Every index of the spec, the redundant ones too, and ours; a partition has those of its parent.
\ir begin.psql
SET LOCAL search_path = tap;
SELECT plan(3);

-- UNIQUE, table, method, columns and predicate, as PostgreSQL writes them
CREATE TEMPORARY TABLE expected (index_name, definition) AS
VALUES
(
    'idx_sessions_family_id',
    'ON public.user_sessions USING btree (family_id) WHERE (family_id IS NOT NULL)'
),
(
    'idx_active_users',
    'ON public.users USING btree (role, is_active) WHERE (is_active = true)'
),
(
    'idx_users_azure_oid',
    'ON public.users USING btree (azure_oid)'
),
(
    'idx_users_email',
    'ON public.users USING btree (email)'
),
(
    'idx_users_role',
    'ON public.users USING btree (role) WHERE (is_active = true)'
),
(
    'users_azure_oid_key',
    'UNIQUE ON public.users USING btree (azure_oid)'
),
(
    'users_pkey',
    'UNIQUE ON public.users USING btree (id)'
),
(
    'idx_mcp_servers_catalog_type',
    'ON public.mcp_servers USING btree (catalog_type)'
),
(
    'idx_mcp_servers_created_by',
    'ON public.mcp_servers USING btree (created_by)'
),
(
    'idx_mcp_servers_name',
    'ON public.mcp_servers USING btree (name)'
),
(
    'idx_mcp_servers_tags',
    'ON public.mcp_servers USING gin (tags)'
),
(
    'mcp_servers_pkey',
    'UNIQUE ON public.mcp_servers USING btree (id)'
),
(
    'unique_server_name',
    'UNIQUE ON public.mcp_servers USING btree (name, catalog_type)'
),
(
    'idx_running_containers',
    'ON public.user_server_configs USING btree (container_state) '
    'WHERE ((container_state)::text = ''running''::text)'
),
(
    'idx_user_configs_container_state',
    'ON public.user_server_configs USING btree (container_state)'
),
(
    'idx_user_configs_enabled',
    'ON public.user_server_configs USING btree (enabled) WHERE (enabled = true)'
),
(
    'idx_user_configs_lookup',
    'ON public.user_server_configs USING btree (user_id, enabled) WHERE (enabled = true)'
),
(
    'idx_user_configs_server_id',
    'ON public.user_server_configs USING btree (server_id)'
),
(
    'idx_user_configs_user_id',
    'ON public.user_server_configs USING btree (user_id)'
),
(
    'unique_user_server',
    'UNIQUE ON public.user_server_configs USING btree (user_id, server_id)'
),
(
    'user_server_configs_pkey',
    'UNIQUE ON public.user_server_configs USING btree (id)'
),
(
    'idx_sessions_active',
    'ON public.user_sessions USING btree (user_id, is_active, expires_at) WHERE (is_active = true)'
),
(
    'idx_sessions_expires',
    'ON public.user_sessions USING btree (expires_at) WHERE (is_active = true)'
),
(
    'idx_sessions_token',
    'ON public.user_sessions USING btree (session_token) WHERE (is_active = true)'
),
(
    'idx_sessions_user_id',
    'ON public.user_sessions USING btree (user_id)'
),
(
    'user_sessions_pkey',
    'UNIQUE ON public.user_sessions USING btree (id)'
),
(
    'user_sessions_refresh_token_key',
    'UNIQUE ON public.user_sessions USING btree (refresh_token)'
),
(
    'user_sessions_session_token_key',
    'UNIQUE ON public.user_sessions USING btree (session_token)'
),
(
    'audit_logs_pkey',
    'UNIQUE ON ONLY public.audit_logs USING btree (id, "timestamp")'
),
(
    'idx_audit_logs_action',
    'ON ONLY public.audit_logs USING btree (action)'
),
(
    'idx_audit_logs_timestamp',
    'ON ONLY public.audit_logs USING btree ("timestamp" DESC)'
),
(
    'idx_audit_logs_user_action',
    'ON ONLY public.audit_logs USING btree (user_id, action, "timestamp" DESC)'
),
(
    'idx_audit_logs_user_timestamp',
    'ON ONLY public.audit_logs USING btree '
    '(NULLIF(user_id, ''00000000-0000-0000-0000-000000000000''::uuid), "timestamp" DESC, id DESC)'
),
(
    'idx_audit_logs_action_timestamp',
    'ON ONLY public.audit_logs USING btree (action COLLATE "C", "timestamp", id)'
),
(
    'idx_audit_logs_resource_id',
    'ON ONLY public.audit_logs USING btree (resource_id, "timestamp" DESC, id DESC) '
    'WHERE (resource_id IS NOT NULL)'
),
(
    'container_status_pkey',
    'UNIQUE ON public.container_status USING btree (config_id)'
),
(
    'idx_container_status_user_id',
    'ON public.container_status USING btree (user_id)'
),
(
    'team_invitations_pkey',
    'UNIQUE ON public.team_invitations USING btree (team_id, user_id)'
),
(
    'idx_team_invitations_user_id',
    'ON public.team_invitations USING btree (user_id)'
),
(
    'idx_team_invitations_invited_by',
    'ON public.team_invitations USING btree (invited_by)'
),
(
    'idx_audit_logs_user_id',
    'ON ONLY public.audit_logs USING btree (user_id)'
),
(
    'idx_teams_created_by',
    'ON public.teams USING btree (created_by)'
),
(
    'teams_pkey',
    'UNIQUE ON public.teams USING btree (id)'
),
(
    'idx_team_members_user_id',
    'ON public.team_members USING btree (user_id)'
),
(
    'team_members_pkey',
    'UNIQUE ON public.team_members USING btree (id)'
),
(
    'unique_team_member',
    'UNIQUE ON public.team_members USING btree (team_id, user_id)'
),
(
    'settings_pkey',
    'UNIQUE ON public.settings USING btree (name)'
),
(
    'jobs_pkey',
    'UNIQUE ON public.jobs USING btree (name)'
);

SELECT set_eq(
    $$
    SELECT
        c.relname::text,
        regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE (UNIQUE )?INDEX \S+ ', '\1')
    FROM pg_index AS i
    INNER JOIN pg_class AS c ON c.oid = i.indexrelid
    INNER JOIN pg_class AS t ON t.oid = i.indrelid
    WHERE
        t.relnamespace = 'public'::regnamespace
        AND t.relname IN (
            'users', 'mcp_servers', 'user_server_configs', 'user_sessions', 'audit_logs', 'teams',
            'team_members', 'team_invitations', 'container_status', 'settings', 'jobs'
        )
    $$,
    'TABLE expected',
    'every index is there under its name, with its columns, order and predicate, and no other'
);

SELECT is_empty(
    $$
    SELECT c.relname
    FROM pg_index AS i
    INNER JOIN pg_class AS c ON c.oid = i.indexrelid
    INNER JOIN pg_class AS t ON t.oid = i.indrelid
    WHERE t.relnamespace = 'public'::regnamespace AND NOT (i.indisvalid AND i.indisready)
    $$,
    'no index is invalid'
);

SELECT is_empty(
    $$
    SELECT p.inhrelid::regclass, x.indexrelid::regclass
    FROM pg_inherits AS p
    CROSS JOIN pg_index AS x
    WHERE
        p.inhparent = 'public.audit_logs'::regclass
        AND x.indrelid = p.inhparent
        AND NOT EXISTS (
            SELECT 1
            FROM pg_inherits AS i
            INNER JOIN pg_index AS y ON y.indexrelid = i.inhrelid
            WHERE i.inhparent = x.indexrelid AND y.indrelid = p.inhrelid
        )
    $$,
    'every partition of audit_logs has every index of its parent'
);

SELECT finish();
ROLLBACK;
