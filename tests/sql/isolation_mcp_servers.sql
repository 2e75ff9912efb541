-- Predefined servers are for every active user to see, a custom one for its maker and for admins.
\ir begin.psql
\ir tenants.psql
SELECT plan(22);

-- As alpha, who made alpha-tool
SET LOCAL ROLE portal_app;
SET LOCAL app.current_user_id = 'a0000000-0000-0000-0000-000000000001';
SELECT results_eq(
    $$SELECT name::text FROM public.mcp_servers WHERE name LIKE '%-tool' ORDER BY 1$$,
    ARRAY['alpha-tool', 'shared-tool'], 'alpha sees the predefined servers and their own'
);
SELECT lives_ok(
    $$INSERT INTO public.mcp_servers (name, image, catalog_type, created_by)
    VALUES ('second-tool', 'x', 'custom', 'a0000000-0000-0000-0000-000000000001')$$,
    'alpha adds a custom server'
);
SELECT throws_ok(
    $$INSERT INTO public.mcp_servers (name, image, catalog_type, created_by)
    VALUES ('third-tool', 'x', 'predefined', 'a0000000-0000-0000-0000-000000000001')$$,
    '42501', NULL, 'alpha cannot add a predefined one'
);
SELECT throws_ok(
    $$INSERT INTO public.mcp_servers (name, image, catalog_type, created_by)
    VALUES ('third-tool', 'x', 'custom', 'b0000000-0000-0000-0000-000000000001')$$,
    '42501', NULL, 'alpha cannot add one in beta''s name'
);
SELECT throws_ok(
    $$INSERT INTO public.mcp_servers (name, image, catalog_type) VALUES ('third-tool', 'x', 'custom')$$,
    '42501', NULL, 'alpha cannot add one in nobody''s name'
);
SELECT results_eq(
    $$WITH changed AS (UPDATE public.mcp_servers SET image = 'changed' RETURNING name::text)
    SELECT name FROM changed ORDER BY 1$$,
    ARRAY['alpha-tool', 'second-tool'], 'alpha changes their own servers and no other'
);
SELECT throws_ok(
    $$UPDATE public.mcp_servers SET catalog_type = 'predefined'$$, '42501', NULL,
    'alpha cannot put a server before everyone'
);
SELECT throws_ok(
    $$UPDATE public.mcp_servers SET created_by = NULL$$, '42501', NULL,
    'alpha cannot change who made a server'
);
SELECT results_eq(
    $$DELETE FROM public.mcp_servers WHERE name <> 'alpha-tool' RETURNING name::text$$,
    ARRAY['second-tool'], 'alpha removes their own servers and no other'
);

-- As beta
SET LOCAL app.current_user_id = 'b0000000-0000-0000-0000-000000000001';
SELECT results_eq(
    $$SELECT name::text FROM public.mcp_servers WHERE name LIKE '%-tool'$$, ARRAY['shared-tool'],
    'beta does not see alpha''s custom server'
);
SELECT is_empty(
    $$UPDATE public.mcp_servers SET image = 'evil' RETURNING 1$$, 'beta changes no server'
);

-- As tess and sam
SET LOCAL app.current_user_id = 'e0000000-0000-0000-0000-000000000001';
SELECT isnt_empty(
    $$SELECT 1 FROM public.mcp_servers WHERE name = 'alpha-tool'$$,
    'tess, a team_admin, sees alpha''s custom server'
);
SET LOCAL app.current_user_id = 'f0000000-0000-0000-0000-000000000001';
SELECT is_empty(
    $$UPDATE public.mcp_servers SET image = 'x' RETURNING 1$$,
    'sam, a super_admin, changes none through the table: the catalog is the owner''s'
);

-- As dora, deactivated, and without a context
SET LOCAL app.current_user_id = 'd0000000-0000-0000-0000-000000000001';
SELECT is_empty('SELECT 1 FROM public.mcp_servers', 'dora, deactivated, sees no server');
SET LOCAL app.current_user_id = '';
SELECT is_empty('SELECT 1 FROM public.mcp_servers', 'nobody sees a server without a context');

-- As the runner
SET LOCAL ROLE portal_runner;
SELECT isnt_empty(
    $$SELECT 1 FROM public.mcp_servers WHERE name = 'alpha-tool'$$, 'the runner sees every server'
);
SELECT throws_ok(
    $$UPDATE public.mcp_servers SET image = 'x'$$, '42501', NULL, 'the runner changes none'
);
SELECT results_eq(
    $$SELECT is_active FROM public.users WHERE id = 'd0000000-0000-0000-0000-000000000001'$$,
    ARRAY[false], 'the runner sees who is deactivated, to stop their containers'
);

-- Who may add a server, by the setting: an active user whom it names, each asked for themselves
RESET ROLE;
CREATE FUNCTION tap.may_add(setting text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_user record;
    v_may  text[] := '{}';
BEGIN
    UPDATE public.settings AS s SET value = setting WHERE s.name = 'custom_servers';
    FOR v_user IN SELECT u.id, u.azure_oid FROM public.users AS u WHERE u.email LIKE '%@example.org' LOOP
        PERFORM public.set_app_context(v_user.id);
        IF public.app_may_add_servers() THEN
            v_may := v_may || v_user.azure_oid::text;
        END IF;
    END LOOP;
    RETURN array_to_string(ARRAY(SELECT unnest(v_may) ORDER BY 1), ' ');
END;
$$;
SELECT is(tap.may_add('everyone'), 'alpha beta sam tess', 'everyone is who is active');
SELECT is(tap.may_add('admins'), 'sam tess', 'admins are a team_admin and a super_admin, not who is deactivated');
SELECT is(tap.may_add('nobody'), '', 'nobody is no one');
DELETE FROM public.settings WHERE name = 'custom_servers';
SELECT is(tap.may_add('everyone'), '', 'nor may anyone without the setting');

SELECT finish();
ROLLBACK;
