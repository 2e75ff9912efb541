-- RLS is on and forced wherever a tenant's rows are, and every policy is the one that was written.
\ir begin.psql
SET LOCAL search_path = tap;
SELECT plan(6);

SELECT set_eq(
    $$
    SELECT c.relname::text, c.relrowsecurity, c.relforcerowsecurity
    FROM pg_class AS c
    WHERE
        c.relnamespace = 'public'::regnamespace
        AND c.relkind IN ('r', 'p')
        AND NOT c.relispartition
        AND c.relowner = 'mcp_admin'::regrole
        AND c.relname !~ '^(_?yoyo|portaldb)_|^_'
    $$,
    $$
    VALUES
    ('users', true, true),
    ('mcp_servers', true, true),
    ('user_server_configs', true, true),
    ('user_sessions', true, true),
    ('audit_logs', true, true),
    ('teams', true, true),
    ('team_members', true, true),
    ('team_invitations', true, true),
    ('container_status', true, true),
    ('settings', false, false),
    ('jobs', false, false),
    ('job_runs', false, false)
    $$,
    'RLS is enabled and forced on every table with tenants'' rows'
);
SELECT is_empty(
    $$
    SELECT c.oid::regclass
    FROM pg_inherits AS i
    INNER JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'public.audit_logs'::regclass AND NOT c.relrowsecurity
    $$,
    'RLS is enabled on every partition'
);
SELECT is_empty(
    $$
    SELECT o.polname
    FROM pg_policy AS o
    INNER JOIN pg_class AS c ON c.oid = o.polrelid
    WHERE c.relispartition
    $$,
    'no partition has a policy that would let a row through'
);

-- table, policy, kind, command, role, USING, WITH CHECK
CREATE TEMPORARY TABLE expected (
    table_name text,
    policy_name text,
    kind text,
    command text,
    role_name text,
    using_expression text,
    check_expression text
);

-- On every table the owner's exemption
INSERT INTO expected
SELECT
    t.name,
    t.name || '_owner_access' AS policy_name,
    'permissive' AS kind,
    '*' AS command,
    'mcp_admin' AS role_name,
    'true' AS using_expression,
    'true' AS check_expression
FROM unnest(
    ARRAY[
        'users', 'mcp_servers', 'user_server_configs', 'user_sessions', 'audit_logs', 'teams',
        'team_members', 'team_invitations', 'container_status'
    ]
) AS t (name);

-- What the functions of portal_api may do to users and to what is theirs
INSERT INTO expected
VALUES
(
    'users',
    'users_api_update',
    'permissive',
    'w',
    'portal_api',
    '((id = ( SELECT public.current_app_user_id() AS current_app_user_id)) '
    'AND (erased_at IS NULL))',
    '(id = ( SELECT public.current_app_user_id() AS current_app_user_id))'
),
('user_sessions', 'user_sessions_api_read', 'permissive', 'r', 'portal_api', 'true', NULL),
(
    'mcp_servers',
    'mcp_servers_api_erase_read',
    'permissive',
    'r',
    'portal_api',
    '(((catalog_type)::text = ''custom''::text) AND (EXISTS ( SELECT 1 FROM public.users u '
    'WHERE ((u.id = mcp_servers.created_by) AND (u.erased_at IS NOT NULL)))))',
    NULL
),
(
    'user_sessions',
    'user_sessions_api_erase',
    'permissive',
    'd',
    'portal_api',
    '(EXISTS ( SELECT 1 FROM public.users u WHERE ((u.id = user_sessions.user_id) AND '
    '(u.erased_at IS NOT NULL))))',
    NULL
),
(
    'user_server_configs',
    'user_server_configs_api_erase_read',
    'permissive',
    'r',
    'portal_api',
    '(EXISTS ( SELECT 1 FROM public.users u WHERE ((u.id = user_server_configs.user_id) AND '
    '(u.erased_at IS NOT NULL))))',
    NULL
),
(
    'team_invitations',
    'team_invitations_api_erase',
    'permissive',
    'd',
    'portal_api',
    '(EXISTS ( SELECT 1 FROM public.users u WHERE ((u.id = ANY '
    '(ARRAY[team_invitations.user_id, team_invitations.invited_by])) '
    'AND (u.erased_at IS NOT NULL))))',
    NULL
),
(
    'team_invitations',
    'team_invitations_api_erase_read',
    'permissive',
    'r',
    'portal_api',
    '(EXISTS ( SELECT 1 FROM public.users u WHERE ((u.id = ANY '
    '(ARRAY[team_invitations.user_id, team_invitations.invited_by])) '
    'AND (u.erased_at IS NOT NULL))))',
    NULL
),
(
    'team_members',
    'team_members_api_erase',
    'permissive',
    'd',
    'portal_api',
    '(EXISTS ( SELECT 1 FROM public.users u WHERE ((u.id = team_members.user_id) AND '
    '(u.erased_at IS NOT NULL))))',
    NULL
),
(
    'users',
    'users_api_admin_update',
    'permissive',
    'w',
    'portal_api',
    '((id >= ( SELECT r.everyone_from FROM public.app_reach r)) AND (id <= '
    '''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid))',
    NULL
),
(
    'user_sessions',
    'user_sessions_api_admin_update',
    'permissive',
    'w',
    'portal_api',
    '((user_id >= ( SELECT r.everyone_from FROM public.app_reach r)) AND (user_id <= '
    '''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid))',
    NULL
),
(
    'user_server_configs',
    'user_server_configs_api_erase',
    'permissive',
    'd',
    'portal_api',
    '(EXISTS ( SELECT 1 FROM public.users u WHERE ((u.id = user_server_configs.user_id) AND '
    '(u.erased_at IS NOT NULL))))',
    NULL
),
(
    'mcp_servers',
    'mcp_servers_api_erase',
    'permissive',
    'd',
    'portal_api',
    '(((catalog_type)::text = ''custom''::text) AND (EXISTS ( SELECT 1 FROM public.users u '
    'WHERE ((u.id = mcp_servers.created_by) AND (u.erased_at IS NOT NULL)))))',
    NULL
),
(
    'user_sessions',
    'user_sessions_api_insert',
    'permissive',
    'a',
    'portal_api',
    NULL,
    '(user_id = public.current_app_user_id())'
),
(
    'user_sessions',
    'user_sessions_api_update',
    'permissive',
    'w',
    'portal_api',
    '(user_id = ( SELECT public.current_app_user_id() AS current_app_user_id))',
    NULL
);
-- An admin's range over the table's key
INSERT INTO expected
SELECT
    t.table_name,
    t.policy_name,
    'permissive' AS kind,
    t.command,
    'portal_app' AS role_name,
    format(
        '((%1$s >= ( SELECT r.everyone_from FROM public.app_reach r))'
        ' AND (%1$s <= ''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid))',
        t.column_name
    ) AS using_expression,
    NULL AS check_expression
FROM (
    VALUES
    ('users', 'users_admin_read', 'r', 'id'),
    ('user_server_configs', 'admin_configs_access', '*', 'user_id'),
    ('container_status', 'container_status_admin_read', 'r', 'user_id'),
    ('teams', 'teams_admin_read', 'r', 'id'),
    ('team_members', 'team_members_admin_read', 'r', 'team_id')
) AS t (table_name, policy_name, command, column_name);

INSERT INTO expected VALUES
(
    'users', 'users_isolation', 'permissive', 'r', 'portal_app',
    '(id = ANY (( SELECT r.user_ids FROM public.app_reach r)::uuid[]))', NULL
),
(
    'users', 'users_self_update', 'permissive', 'w', 'portal_app',
    '(id = ( SELECT r.user_id FROM public.app_reach r))', NULL
),
(
    'users', 'users_erased_stay', 'restrictive', 'w', 'portal_app', '(erased_at IS NULL)', NULL
),
('users', 'users_api_read', 'permissive', 'r', 'portal_api', 'true', NULL),
('teams', 'teams_api_read', 'permissive', 'r', 'portal_api', 'true', NULL),
(
    'users', 'users_api_bootstrap', 'permissive', 'a', 'portal_api',
    NULL, '((role)::text = ''standard_user''::text)'
),
('users', 'users_runner_read', 'permissive', 'r', 'portal_runner', 'true', NULL),
(
    'mcp_servers', 'mcp_servers_catalog_read', 'permissive', 'r', 'portal_app',
    '(((catalog_type)::text = ''predefined''::text) '
    'AND (( SELECT r.user_id FROM public.app_reach r) IS NOT NULL))', NULL
),
(
    'mcp_servers', 'mcp_servers_admin_read', 'permissive', 'r', 'portal_app',
    '(((id >= ( SELECT r.everyone_from FROM public.app_reach r))'
    ' AND (id <= ''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid))'
    ' OR (created_by = ANY (( SELECT r.user_ids FROM public.app_reach r)::uuid[])))', NULL
),
(
    'mcp_servers', 'mcp_servers_isolation', 'permissive', '*', 'portal_app',
    '(((catalog_type)::text = ''custom''::text) '
    'AND (created_by = ( SELECT r.user_id FROM public.app_reach r)))', NULL
),
('mcp_servers', 'mcp_servers_runner_read', 'permissive', 'r', 'portal_runner', 'true', NULL),
(
    'mcp_servers', 'mcp_servers_makers_insert', 'restrictive', 'a', 'portal_app',
    NULL, '( SELECT public.app_may_add_servers() AS app_may_add_servers)'
),
(
    'mcp_servers', 'mcp_servers_makers_update', 'restrictive', 'w', 'portal_app',
    NULL, '( SELECT public.app_may_add_servers() AS app_may_add_servers)'
),
(
    'user_server_configs', 'user_configs_isolation', 'permissive', '*', 'portal_app',
    '(user_id = ANY (( SELECT r.user_ids FROM public.app_reach r)::uuid[]))', NULL
),
(
    'user_server_configs', 'user_server_configs_visible_server', 'restrictive', 'a', 'portal_app',
    NULL,
    '(EXISTS ( SELECT 1 FROM public.mcp_servers s WHERE (s.id = user_server_configs.server_id)))'
),
(
    'user_server_configs', 'user_server_configs_runner_read', 'permissive', 'r', 'portal_runner',
    'true', NULL
),
(
    'user_server_configs', 'user_server_configs_runner_update', 'permissive', 'w', 'portal_runner',
    'true', NULL
),
(
    'user_server_configs', 'user_server_configs_maintenance_read', 'permissive', 'r',
    'portal_maintenance',
    'true', NULL
),
(
    'user_server_configs', 'user_server_configs_maintenance_update', 'permissive', 'w',
    'portal_maintenance',
    'true', NULL
),
(
    'user_sessions', 'user_sessions_isolation', 'permissive', '*', 'portal_app',
    '(user_id = ( SELECT r.user_id FROM public.app_reach r))', NULL
),
(
    'audit_logs', 'audit_logs_api_insert', 'permissive', 'a', 'portal_api',
    NULL, '(NOT (user_id IS DISTINCT FROM public.current_app_user_id()))'
),
(
    'teams', 'teams_isolation', 'permissive', 'r', 'portal_app',
    '(id = ANY (( SELECT public.app_team_ids() AS app_team_ids)::uuid[]))', NULL
),
(
    'team_members', 'team_members_isolation', 'permissive', 'r', 'portal_app',
    '(team_id = ANY (( SELECT public.app_team_ids() AS app_team_ids)::uuid[]))', NULL
),
('team_members', 'team_members_api_read', 'permissive', 'r', 'portal_api', 'true', NULL),
(
    'container_status', 'container_status_isolation', 'permissive', 'r', 'portal_app',
    '(user_id = ANY (( SELECT r.user_ids FROM public.app_reach r)::uuid[]))', NULL
),
(
    'container_status', 'container_status_runner_read', 'permissive', 'r', 'portal_runner',
    'true', NULL
),
(
    'container_status', 'container_status_runner_update', 'permissive', 'w', 'portal_runner',
    'true', NULL
),
(
    'container_status', 'container_status_runner_insert', 'permissive', 'a', 'portal_runner',
    NULL,
    '(EXISTS ( SELECT 1 FROM public.user_server_configs c '
    'WHERE (c.id = container_status.config_id)))'
),
(
    'team_invitations', 'team_invitations_isolation', 'permissive', 'r', 'portal_app',
    '(user_id = ( SELECT r.user_id FROM public.app_reach r))', NULL
),
(
    'team_invitations', 'team_invitations_led_read', 'permissive', 'r', 'portal_app',
    '((team_id = ANY (( SELECT public.app_led_team_ids() AS app_led_team_ids)::uuid[]))'
    ' OR ((team_id >= ( SELECT public.app_every_team_from() AS app_every_team_from))'
    ' AND (team_id <= ''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid)))', NULL
),
(
    'team_invitations', 'team_invitations_api_read', 'permissive', 'r', 'portal_api',
    '((user_id = ( SELECT r.user_id FROM public.app_reach r))'
    ' OR (team_id = ANY (( SELECT public.app_led_team_ids() AS app_led_team_ids)::uuid[]))'
    ' OR ((team_id >= ( SELECT public.app_every_team_from() AS app_every_team_from))'
    ' AND (team_id <= ''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid)))', NULL
),
(
    'team_invitations', 'team_invitations_api_end', 'permissive', 'd', 'portal_api',
    '((user_id = ( SELECT r.user_id FROM public.app_reach r))'
    ' OR (team_id = ANY (( SELECT public.app_led_team_ids() AS app_led_team_ids)::uuid[]))'
    ' OR ((team_id >= ( SELECT public.app_every_team_from() AS app_every_team_from))'
    ' AND (team_id <= ''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid)))', NULL
),
(
    'team_invitations', 'team_invitations_api_invite', 'permissive', 'a', 'portal_api',
    NULL, '((invited_by = ( SELECT r.user_id FROM public.app_reach r))'
    ' AND ((team_id = ANY (( SELECT public.app_led_team_ids() AS app_led_team_ids)::uuid[]))'
    ' OR ((team_id >= ( SELECT public.app_every_team_from() AS app_every_team_from))'
    ' AND (team_id <= ''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid))))'
),
(
    'teams', 'teams_invited_read', 'permissive', 'r', 'portal_app',
    '(id = ANY (( SELECT public.app_invited_team_ids() AS app_invited_team_ids)::uuid[]))',
    NULL
),
(
    'teams', 'teams_api_create', 'permissive', 'a', 'portal_api',
    NULL, '(created_by = ( SELECT r.user_id FROM public.app_reach r))'
),
(
    'teams', 'teams_api_update', 'permissive', 'w', 'portal_api',
    '((id = ANY (( SELECT public.app_led_team_ids() AS app_led_team_ids)::uuid[]))'
    ' OR ((id >= ( SELECT public.app_every_team_from() AS app_every_team_from))'
    ' AND (id <= ''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid)))', NULL
),
(
    'team_members', 'team_members_api_join', 'permissive', 'a', 'portal_api',
    NULL, '(user_id = ( SELECT r.user_id FROM public.app_reach r))'
),
(
    'team_members', 'team_members_api_update', 'permissive', 'w', 'portal_api',
    '((team_id = ANY (( SELECT public.app_led_team_ids() AS app_led_team_ids)::uuid[]))'
    ' OR ((team_id >= ( SELECT public.app_every_team_from() AS app_every_team_from))'
    ' AND (team_id <= ''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid)))', NULL
),
(
    'team_members', 'team_members_api_leave', 'permissive', 'd', 'portal_api',
    '((user_id = ( SELECT r.user_id FROM public.app_reach r))'
    ' OR (team_id = ANY (( SELECT public.app_led_team_ids() AS app_led_team_ids)::uuid[]))'
    ' OR ((team_id >= ( SELECT public.app_every_team_from() AS app_every_team_from))'
    ' AND (team_id <= ''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid)))', NULL
),
(
    'audit_logs', 'audit_logs_api_read', 'permissive', 'r', 'portal_api',
    '(user_id = ANY (( SELECT r.user_ids FROM public.app_reach r)::uuid[]))', NULL
),
(
    'audit_logs', 'audit_logs_api_admin_read', 'permissive', 'r', 'portal_api',
    '((user_id >= ( SELECT r.everyone_from FROM public.app_reach r))'
    ' AND (user_id <= ''ffffffff-ffff-ffff-ffff-ffffffffffff''::uuid))', NULL
),
(
    'audit_logs', 'audit_logs_api_nameless_read', 'permissive', 'r', 'portal_api',
    '((user_id IS NULL) AND ((( SELECT u.role FROM public.users u'
    ' WHERE (u.id = ( SELECT r.user_id FROM public.app_reach r))))::text = ''super_admin''::text))',
    NULL
);

SELECT set_eq(
    $$
    SELECT
        c.relname::text,
        o.polname::text,
        CASE WHEN o.polpermissive THEN 'permissive' ELSE 'restrictive' END AS kind,
        o.polcmd::text,
        array_to_string(o.polroles::regrole[], ' ') AS role_name,
        regexp_replace(pg_get_expr(o.polqual, o.polrelid), '\s+', ' ', 'g') AS using_expression,
        regexp_replace(pg_get_expr(o.polwithcheck, o.polrelid), '\s+', ' ', 'g') AS check_expression
    FROM pg_policy AS o
    INNER JOIN pg_class AS c ON c.oid = o.polrelid
    WHERE c.relnamespace = 'public'::regnamespace
    $$,
    'TABLE expected',
    'every policy has its command, its role and its expressions, and there is no other'
);
SELECT is_empty(
    $$
    SELECT o.polname
    FROM pg_policy AS o
    INNER JOIN pg_class AS c ON c.oid = o.polrelid
    WHERE c.relnamespace = 'public'::regnamespace AND obj_description(o.oid, 'pg_policy') IS NULL
    $$,
    'every policy says what it is for'
);
SELECT set_eq(
    $$
    SELECT o.polrelid::regclass::text, o.polname::text
    FROM pg_policy AS o
    INNER JOIN pg_class AS c ON c.oid = o.polrelid
    WHERE c.relnamespace = 'public'::regnamespace AND o.polcmd = '*' AND o.polname NOT LIKE '%\_owner\_access'
    $$,
    $$
    VALUES
    ('public.user_server_configs', 'user_configs_isolation'),
    ('public.user_server_configs', 'admin_configs_access'),
    ('public.user_sessions', 'user_sessions_isolation'),
    ('public.mcp_servers', 'mcp_servers_isolation')
    $$,
    'the three policies of the spec, and a maker''s on custom servers, hold for every command'
);

SELECT finish();
ROLLBACK;
