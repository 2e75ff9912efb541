-- Every trigger is there and enabled, and the spec's three keep updated_at true.
\ir begin.psql
\ir tenants.psql
SET LOCAL search_path = tap;
SELECT plan(6);

SELECT set_eq(
    $$
    SELECT pg_get_triggerdef(t.oid), t.tgenabled::text
    FROM pg_trigger AS t
    INNER JOIN pg_class AS c ON c.oid = t.tgrelid
    WHERE
        c.relnamespace = 'public'::regnamespace
        AND NOT t.tgisinternal
        AND t.tgname !~ '^(notify|refuse_audit)_'
    $$,
    $$
    VALUES
    (
        'CREATE TRIGGER update_users_updated_at BEFORE UPDATE ON public.users '
        'FOR EACH ROW EXECUTE FUNCTION public.update_updated_at()',
        'O'
    ),
    (
        'CREATE TRIGGER update_mcp_servers_updated_at BEFORE UPDATE ON public.mcp_servers '
        'FOR EACH ROW EXECUTE FUNCTION public.update_updated_at()',
        'O'
    ),
    (
        'CREATE TRIGGER update_user_configs_updated_at BEFORE UPDATE ON public.user_server_configs '
        'FOR EACH ROW EXECUTE FUNCTION public.update_updated_at()',
        'O'
    ),
    (
        'CREATE TRIGGER require_encrypted_config BEFORE INSERT OR UPDATE OF encrypted_config '
        'ON public.user_server_configs FOR EACH ROW EXECUTE FUNCTION public.require_encrypted_config()',
        'O'
    ),
    (
        'CREATE TRIGGER restart_requested_now BEFORE UPDATE OF restart_requested_at '
        'ON public.user_server_configs FOR EACH ROW EXECUTE FUNCTION public.restart_requested_now()',
        'O'
    ),
    (
        'CREATE TRIGGER container_status_user BEFORE INSERT ON public.container_status '
        'FOR EACH ROW EXECUTE FUNCTION public.container_status_user()',
        'O'
    ),
    (
        'CREATE TRIGGER refuse_erased_user AFTER INSERT ON public.user_sessions '
        'FOR EACH ROW EXECUTE FUNCTION public.refuse_erased_user()',
        'O'
    ),
    (
        'CREATE TRIGGER refuse_erased_user AFTER INSERT ON public.user_server_configs '
        'FOR EACH ROW EXECUTE FUNCTION public.refuse_erased_user()',
        'O'
    ),
    (
        'CREATE TRIGGER refuse_erased_user AFTER INSERT ON public.team_members '
        'FOR EACH ROW EXECUTE FUNCTION public.refuse_erased_user()',
        'O'
    ),
    (
        'CREATE TRIGGER refuse_erased_user AFTER INSERT ON public.team_invitations '
        'FOR EACH ROW EXECUTE FUNCTION public.refuse_erased_user()',
        'O'
    ),
    (
        'CREATE TRIGGER refuse_erased_maker AFTER INSERT ON public.mcp_servers '
        'FOR EACH ROW WHEN ((new.created_by IS NOT NULL)) EXECUTE FUNCTION public.refuse_erased_maker()',
        'O'
    )
    $$,
    'these triggers are there, and no other but the change feed''s, and the audit trail''s'
);
SELECT set_eq(
    $$
    SELECT
        c.relname::text,
        t.tgname::text,
        p.proname::text,
        encode(t.tgargs, 'escape'),
        t.tgenabled::text,
        t.tgtype::integer,
        t.tgqual IS NOT NULL
    FROM pg_trigger AS t
    INNER JOIN pg_class AS c ON c.oid = t.tgrelid
    INNER JOIN pg_proc AS p ON p.oid = t.tgfoid
    WHERE
        c.relnamespace = 'public'::regnamespace
        AND NOT t.tgisinternal
        AND t.tgname ~ '^notify_'
    $$,
    -- For each row after it: 13 an INSERT or DELETE, 17 an UPDATE.
    $$
    VALUES
    ('user_server_configs', 'notify_config_made', 'notify_config_change', 'portal_config\000', 'O', 13, false),
    ('user_server_configs', 'notify_config_changed', 'notify_config_change', 'portal_config\000', 'O', 17, true),
    ('user_server_configs', 'notify_state_changed', 'notify_config_change', 'portal_state\000', 'O', 17, true),
    ('mcp_servers', 'notify_server_made', 'notify_row_change', 'portal_catalog\000', 'O', 13, false),
    ('mcp_servers', 'notify_server_changed', 'notify_row_change', 'portal_catalog\000', 'O', 17, true),
    ('users', 'notify_user_changed', 'notify_row_change', 'portal_user\000', 'O', 17, true)
    $$,
    'the change feed has its six triggers'
);

-- An update that lies about the time
SELECT is_empty(
    $$SELECT 1 FROM public.users WHERE azure_oid = 'alpha' AND updated_at <> CURRENT_TIMESTAMP$$,
    'a new row has the time of its transaction'
);
SELECT lives_ok(
    $$UPDATE public.users SET display_name = 'A', updated_at = '2001-01-01'
    WHERE azure_oid = 'alpha'$$,
    'an update may say any updated_at'
);
SELECT is_empty(
    $$SELECT 1 FROM public.users WHERE azure_oid = 'alpha' AND updated_at <> CURRENT_TIMESTAMP$$,
    'and the trigger writes the time of the transaction all the same, on users'
);
UPDATE public.mcp_servers SET updated_at = '2001-01-01';
UPDATE public.user_server_configs SET updated_at = '2001-01-01';
SELECT is_empty(
    $$
    SELECT 1 FROM public.mcp_servers WHERE updated_at <> CURRENT_TIMESTAMP
    UNION ALL
    SELECT 1 FROM public.user_server_configs WHERE updated_at <> CURRENT_TIMESTAMP
    $$,
    'on mcp_servers and on user_server_configs too'
);

SELECT finish();
ROLLBACK;
