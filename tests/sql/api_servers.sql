-- Servers on and off, custom ones, configurations and restarts: done once, audited once.
\ir begin.psql
\ir tenants.psql
SELECT plan(133);

\set alpha 'a0000000-0000-0000-0000-000000000001'
\set beta 'b0000000-0000-0000-0000-000000000001'
\set sam 'f0000000-0000-0000-0000-000000000001'
\set tool '0a000000-0000-0000-0000-000000000001'
\set shared '0b000000-0000-0000-0000-000000000001'
\set spare '0b000000-0000-0000-0000-000000000002'
\set retired '0b000000-0000-0000-0000-000000000003'
\set nothing '0b000000-0000-0000-0000-00000000000f'

INSERT INTO public.mcp_servers (id, name, image, is_active) VALUES
(:'spare', 'spare-tool', 'shared/spare', true),
(:'retired', 'retired-tool', 'shared/retired', false);

-- What the trail holds since the last look, as action, kind, id and details.
CREATE TABLE tap.seen (id uuid);
GRANT SELECT, INSERT ON tap.seen TO PUBLIC;
CREATE FUNCTION tap.news() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
    WITH fresh AS (
        INSERT INTO tap.seen SELECT a.id FROM public.audit_logs AS a
        WHERE NOT EXISTS (SELECT 1 FROM tap.seen AS s WHERE s.id = a.id)
        RETURNING id
    )
    SELECT string_agg(concat_ws(' ', a.action, a.resource_type, a.resource_id), ', ' ORDER BY a.timestamp)
    FROM public.audit_logs AS a INNER JOIN fresh ON a.id = fresh.id
$$;
CREATE FUNCTION tap.details() RETURNS jsonb LANGUAGE sql SECURITY DEFINER AS $$
    SELECT a.details FROM public.audit_logs AS a WHERE a.id NOT IN (SELECT s.id FROM tap.seen AS s)
$$;
-- What a call is refused with: the state, and whether the three parts are there.
CREATE FUNCTION tap.refusal(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_message text;
    v_detail  text;
    v_hint    text;
BEGIN
    EXECUTE call;
    RETURN 'done';
EXCEPTION
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS
            v_message = MESSAGE_TEXT, v_detail = PG_EXCEPTION_DETAIL, v_hint = PG_EXCEPTION_HINT;
        IF v_message = '' OR v_detail = '' OR v_hint = '' THEN
            RETURN SQLSTATE || ' says too little';
        END IF;
        RETURN SQLSTATE || ' ' || v_message;
END;
$$;
CREATE FUNCTION tap.value(user_id uuid, server_id uuid) RETURNS text LANGUAGE sql AS $$
    SELECT public.encrypt_sensitive_data(
        'x', '0123456789abcdef',
        public.sensitive_data_context('user_server_configs', 'encrypted_config', user_id, server_id)
    )
$$;

-- Nobody, and a deactivated user
SET LOCAL ROLE portal_app;
SELECT is(
    tap.refusal(c.call), 'PT401 no active user acts in this transaction',
    c.call || ' needs somebody'
)
FROM (
    VALUES
    (format('SELECT enable_server(%L)', :'shared')),
    (format('SELECT disable_server(%L)', :'shared')),
    ('SELECT bulk_enable(ARRAY[]::uuid[])'),
    ('SELECT bulk_disable(NULL)'),
    ('SELECT add_custom_server(NULL, NULL)'),
    (format('SELECT remove_custom_server(%L)', :'tool')),
    (format('SELECT update_server_config(%L)', :'shared')),
    (format('SELECT request_server_restart(%L)', :'shared'))
) AS c (call);
SET LOCAL app.current_user_id = 'd0000000-0000-0000-0000-000000000001';
SELECT is(
    tap.refusal(format('SELECT enable_server(%L)', :'shared')), 'PT401 no active user acts in this transaction',
    'a deactivated user switches nothing on'
);

-- As alpha: on and off
SET LOCAL app.current_user_id = :'alpha';
SELECT results_eq(
    format('SELECT outcome, config_id IS NOT NULL FROM enable_server(%L)', :'spare'),
    $$VALUES ('enabled', true)$$, 'alpha switches on what they have no configuration of'
);
SELECT is(
    tap.details() ->> 'config_id',
    (SELECT c.id::text FROM public.user_server_configs AS c WHERE c.server_id = :'spare'),
    'the trail names the configuration that was made'
);
SELECT is(tap.news(), 'server_enabled server ' || :'spare', 'it is audited once');
SELECT results_eq(
    format('SELECT config_id, outcome FROM enable_server(%L)', :'spare'),
    format($$SELECT c.id, 'unchanged' FROM public.user_server_configs AS c WHERE c.server_id = %L$$, :'spare'),
    'again is unchanged, and tells the configuration'
);
SELECT is(tap.news(), NULL, 'which is not audited');
SELECT is(
    (SELECT c.enabled FROM public.user_server_configs AS c WHERE c.server_id = :'spare'), true, 'it is on'
);
SELECT results_eq(
    format('SELECT outcome FROM disable_server(%L)', :'spare'), ARRAY['disabled'], 'alpha switches it off'
);
SELECT is(tap.news(), 'server_disabled server ' || :'spare', 'which is audited once');
SELECT results_eq(
    format('SELECT outcome FROM disable_server(%L)', :'spare'), ARRAY['unchanged'], 'again is unchanged'
);
SELECT is(tap.news(), NULL, 'and not audited');
SELECT results_eq(
    format('SELECT outcome FROM enable_server(%L)', :'spare'), ARRAY['enabled'], 'and on again'
);
SELECT is(tap.news(), 'server_enabled server ' || :'spare', 'which is audited');
SELECT results_eq(
    format('SELECT config_id, outcome FROM disable_server(%L)', :'tool'),
    $$VALUES (NULL::uuid, 'unchanged')$$, 'what alpha has no configuration of is off'
);
SELECT is(
    tap.refusal(format('SELECT enable_server(%L)', :'retired')), 'PT409 the server is out of use',
    'alpha does not switch on what is out of use'
);
SELECT is(
    tap.refusal(format('SELECT %s(%L)', f.name, i.id)), 'PT404 there is no such server',
    format('%s of %s is refused', f.name, coalesce(i.id, 'no id'))
)
FROM unnest(ARRAY['enable_server', 'disable_server', 'update_server_config']) AS f (name)
CROSS JOIN unnest(ARRAY[:'nothing', NULL]) AS i (id);
SELECT is(tap.news(), NULL, 'a refusal is not audited');

-- As beta: another's custom server is as one that is not there
SET LOCAL app.current_user_id = :'beta';
SELECT is(
    tap.refusal(format('SELECT %s(%L)', f.name, :'tool')), 'PT404 there is no such server',
    format('%s of alpha''s server is refused to beta, as of no server', f.name)
)
FROM unnest(
    ARRAY['enable_server', 'disable_server', 'update_server_config', 'remove_custom_server']
) AS f (name);

-- As alpha: many
SET LOCAL app.current_user_id = :'alpha';
SELECT results_eq(
    format(
        'SELECT server_id, outcome, config_id IS NOT NULL FROM bulk_enable(ARRAY[%L, %L, %L, %L, %L, %L]::uuid[])',
        :'nothing', :'tool', :'retired', :'spare', :'tool', :'nothing'
    ),
    format(
        $$VALUES (%L::uuid, 'not_found', false), (%L, 'enabled', true), (%L, 'server_inactive', false),
        (%L, 'unchanged', true)$$, :'nothing', :'tool', :'retired', :'spare'
    ),
    'each server is told of once, in the order asked'
);
SELECT is(tap.details(), jsonb_build_object('server_ids', ARRAY[:'tool']), 'the trail has those that changed');
SELECT is(tap.news(), 'bulk_enable server', 'in one entry');
SELECT results_eq(
    format('SELECT outcome FROM bulk_enable(ARRAY[%L, %L]::uuid[])', :'tool', :'retired'),
    ARRAY['unchanged', 'server_inactive'], 'again changes nothing'
);
SELECT is(tap.news(), NULL, 'and is not audited');
SELECT results_eq(
    format('SELECT server_id, outcome FROM bulk_disable(ARRAY[%L, %L, %L]::uuid[])', :'retired', :'tool', :'nothing'),
    format(
        $$VALUES (%L::uuid, 'unchanged'), (%L, 'disabled'), (%L, 'not_found')$$, :'retired', :'tool', :'nothing'
    ),
    'many are switched off, and each is told of'
);
SELECT is(tap.details(), jsonb_build_object('server_ids', ARRAY[:'tool']), 'the trail has those that changed');
SELECT is(tap.news(), 'bulk_disable server', 'in one entry');
SELECT results_eq(
    format('SELECT outcome FROM bulk_disable(ARRAY[%L]::uuid[])', :'tool'), ARRAY['unchanged'],
    'again changes nothing'
);
SELECT is(tap.news(), NULL, 'and is not audited');
SELECT is_empty(format('SELECT 1 FROM %s(ARRAY[]::uuid[])', f.name), f.name || ' of nothing tells of nothing')
FROM unnest(ARRAY['bulk_enable', 'bulk_disable']) AS f (name);
SELECT is(
    tap.refusal(format('SELECT %s(%s)', f.name, v.ids)), 'PT400 the list of servers cannot be taken',
    format('%s refuses %s', f.name, v.what)
)
FROM unnest(ARRAY['bulk_enable', 'bulk_disable']) AS f (name)
CROSS JOIN (
    VALUES
    ('no list', 'NULL'),
    ('a NULL in it', 'ARRAY[NULL]::uuid[]'),
    ('1001 ids', '(SELECT array_agg(uuid_generate_v4()) FROM generate_series(1, 1001))'),
    ('1002 ids in two rows', 'array_fill(uuid_generate_v4(), ARRAY[2, 501])')
) AS v (what, ids);
SELECT is(
    (SELECT count(*) FROM bulk_enable((SELECT array_agg(public.uuid_generate_v4()) FROM generate_series(1, 1000)))),
    1000::bigint, 'a thousand ids are taken'
);
SELECT results_eq(
    format('SELECT outcome FROM bulk_enable(ARRAY[ARRAY[%L, %L], ARRAY[%L, %L]]::uuid[])', :'spare', :'tool', :'tool', :'nothing'),
    ARRAY['unchanged', 'enabled', 'not_found'], 'a list of lists is their ids'
);
SELECT isnt(tap.news(), NULL, 'audited');
SELECT is(
    (SELECT count(*) FROM public.user_server_configs AS c WHERE c.user_id <> :'alpha'), 0::bigint,
    'alpha sees their own configurations alone'
);

-- As alpha: a server of their own
SELECT isnt(
    add_custom_server(
        'my tool', 'ghcr.io/acme/tool:1.2', 'My tool', 'It does.', 'search', ARRAY['a', 'b'], '{"k": 1}', '1.2'
    ), NULL, 'alpha adds a server of their own'
);
SELECT is(tap.details(), '{"name": "my tool", "image": "ghcr.io/acme/tool:1.2"}', 'the trail has its name and image');
SELECT alike(tap.news(), 'custom_server_added server %', 'in one entry');
SELECT results_eq(
    $$SELECT image::text, display_name::text, description, category::text, tags, metadata, version::text, created_by,
        catalog_type::text, is_active
    FROM public.mcp_servers WHERE name = 'my tool'$$,
    format(
        $$VALUES ('ghcr.io/acme/tool:1.2', 'My tool', 'It does.', 'search', ARRAY['a', 'b'], '{"k": 1}'::jsonb, '1.2',
        %L::uuid, 'custom', true)$$, :'alpha'
    ), 'with all that was said of it'
);
SELECT lives_ok($$SELECT add_custom_server('github', 'x')$$, 'a name of the catalog is free for a custom server');
SELECT results_eq(
    $$SELECT metadata, tags FROM public.mcp_servers WHERE name = 'github' AND catalog_type = 'custom'$$,
    $$VALUES ('{}'::jsonb, NULL::text[])$$, 'what is not said is as the table has it'
);
SELECT isnt(tap.news(), NULL, 'audited');
SELECT is(
    tap.refusal(format('SELECT add_custom_server(%s)', v.args)), 'PT400 the custom server cannot be taken as it is',
    'a custom server is refused with ' || v.what
)
FROM (
    VALUES
    ('no name', $$NULL, 'x'$$),
    ('an empty name', $$'', 'x'$$),
    ('a name of 256 letters', $$repeat('n', 256), 'x'$$),
    ('a name of a megabyte', $$repeat('n', 1048576), 'x'$$),
    ('a space before its name', $$' n', 'x'$$),
    ('a line break in its name', $$E'n\nm', 'x'$$),
    ('no image', $$'n', NULL$$),
    ('an image that is none', $$'n', 'An image'$$),
    ('an image of a megabyte', $$'n', repeat('x', 1048576)$$),
    ('a display name of 256 letters', $$'n', 'x', repeat('n', 256)$$),
    ('a description of 10001 letters', $$'n', 'x', p_description => repeat('n', 10001)$$),
    ('a category of 101 letters', $$'n', 'x', p_category => repeat('n', 101)$$),
    ('a version of 51 letters', $$'n', 'x', p_version => repeat('n', 51)$$),
    ('an empty tag', $$'n', 'x', p_tags => ARRAY['']$$),
    ('a tag that is NULL', $$'n', 'x', p_tags => ARRAY[NULL]::text[]$$),
    ('a tag of 101 letters', $$'n', 'x', p_tags => ARRAY[repeat('n', 101)]$$),
    ('101 tags', $$'n', 'x', p_tags => array_fill('n'::text, ARRAY[101])$$),
    ('tags of tags', $$'n', 'x', p_tags => array_fill('n'::text, ARRAY[2, 2])$$),
    ('metadata that is a list', $$'n', 'x', p_metadata => '[]'$$),
    ('metadata of a megabyte', $$'n', 'x', p_metadata => jsonb_build_object('k', repeat('n', 1048576))$$)
) AS v (what, args);
SET LOCAL app.current_user_id = :'beta';
SELECT is(
    tap.refusal($$SELECT add_custom_server('my tool', 'x')$$), 'PT409 the name is taken',
    'beta learns that a name is taken, and no more'
);
SELECT is(
    tap.refusal(format('SELECT remove_custom_server(%L)', :'shared')), 'PT403 the server is not the user''s own',
    'beta does not remove a server of the catalog'
);
SET LOCAL app.current_user_id = :'sam';
SELECT is(
    tap.refusal(format('SELECT remove_custom_server(%L)', :'tool')), 'PT403 the server is not the user''s own',
    'nor does sam, a super_admin, remove one that is alpha''s'
);
SET LOCAL app.current_user_id = :'alpha';
SELECT is(tap.news(), NULL, 'nothing of that is audited');
SELECT lives_ok(format('SELECT remove_custom_server(%L)', :'tool'), 'alpha removes their own');
SELECT is(tap.details(), '{"name": "alpha-tool", "image": "alpha/tool"}', 'the trail says what it was');
SELECT is(tap.news(), 'custom_server_removed server ' || :'tool', 'in one entry');
SELECT is_empty(
    format('SELECT 1 FROM public.user_server_configs WHERE server_id = %L', :'tool'),
    'with its configuration'
);

-- Who may add them
RESET ROLE;
UPDATE public.settings SET value = 'admins' WHERE name = 'custom_servers';
SET LOCAL ROLE portal_app;
SELECT is(
    tap.refusal($$SELECT add_custom_server('third', 'x')$$), 'PT403 the user may not add custom servers',
    'where admins may, alpha adds none'
);
SET LOCAL app.current_user_id = :'sam';
SELECT lives_ok($$SELECT add_custom_server('of sam', 'x')$$, 'and sam does');
SELECT isnt(tap.news(), NULL, 'audited');
RESET ROLE;
UPDATE public.settings SET value = 'nobody' WHERE name = 'custom_servers';
SET LOCAL ROLE portal_app;
SELECT is(
    tap.refusal($$SELECT add_custom_server('another of sam', 'x')$$), 'PT403 the user may not add custom servers',
    'where nobody may, sam adds none'
);

-- As alpha: a configuration
SET LOCAL app.current_user_id = :'alpha';
SELECT results_eq(
    format($$SELECT outcome FROM update_server_config(%L, p_config_metadata => '{"a": 1}')$$, :'shared'),
    ARRAY['updated'], 'alpha changes the metadata'
);
SELECT is(
    tap.details(), jsonb_build_object('server_id', :'shared', 'changed', ARRAY['config_metadata'], 'created', false),
    'the trail says which part, and not what to'
);
SELECT alike(tap.news(), 'config_updated config %', 'in one entry');
SELECT results_eq(
    format(
        $$SELECT outcome FROM update_server_config(%L, %L)$$, :'shared', v.value
    ),
    ARRAY['updated'], 'alpha stores a value that is bound to the row'
)
FROM (SELECT tap.value(:'alpha', :'shared') AS value) AS v;
SELECT unalike(tap.details()::text, '%eyJ%', 'which is not in the trail');
SELECT isnt(tap.news(), NULL, 'audited');
SELECT results_eq(
    format('SELECT config_metadata, has_secret, enabled FROM user_servers WHERE server_id = %L', :'shared'),
    $$VALUES ('{"a": 1}'::jsonb, true, true)$$, 'NULL kept what was there'
);
SELECT results_eq(
    format($$SELECT outcome FROM update_server_config(%L, p_config_metadata => '{"a": 1}')$$, :'shared'),
    ARRAY['unchanged'], 'the same again is unchanged'
);
SELECT is(tap.news(), NULL, 'and not audited');
SELECT is(
    tap.refusal(format('SELECT update_server_config(%L, %s)', :'shared', v.args)),
    'PT400 the configuration cannot be taken as it is', 'a configuration is refused with ' || v.what
)
FROM (
    VALUES
    ('plain text', $$'plain text'$$),
    ('another row''s value', quote_literal(tap.value(:'beta', :'shared'))),
    ('a megabyte', $$repeat('x', 1048576)$$),
    ('a value, and none', $$'x', p_clear_secret => true$$),
    ('metadata that is a list', $$p_config_metadata => '[]'$$),
    ('metadata that is null', $$p_config_metadata => 'null'$$),
    ('metadata of 64 kB', $$p_config_metadata => jsonb_build_object('k', repeat('n', 65536))$$)
) AS v (what, args);
SELECT is(
    tap.refusal(
        format($$SELECT update_server_config(%L, p_config_metadata => '{}', p_expected_updated_at => 'epoch')$$, :'shared')
    ), 'PT409 the configuration was changed meanwhile', 'a change of another state is refused'
);
SELECT results_eq(
    format(
        $$SELECT outcome, updated_at = CURRENT_TIMESTAMP
        FROM update_server_config(%L, p_clear_secret => true, p_expected_updated_at => CURRENT_TIMESTAMP)$$, :'shared'
    ),
    $$VALUES ('updated', true)$$, 'of the state that was read it is done, and takes the value away'
);
SELECT results_eq(
    format('SELECT has_secret FROM user_servers WHERE server_id = %L', :'shared'), ARRAY[false], 'there is none now'
);
SELECT isnt(tap.news(), NULL, 'audited');
SELECT is(
    tap.refusal(
        format($$SELECT update_server_config(%L, p_config_metadata => '{}', p_expected_updated_at => 'epoch')$$, :'retired')
    ), 'PT409 the configuration was removed meanwhile', 'a state of what is not there is refused'
);
SELECT results_eq(
    format('SELECT config_id, outcome FROM update_server_config(%L)', :'retired'), $$VALUES (NULL::uuid, 'unchanged')$$,
    'to change nothing makes no configuration'
);
SELECT results_eq(
    format($$SELECT outcome FROM update_server_config(%L, p_config_metadata => '{}')$$, :'retired'), ARRAY['created'],
    'a configuration that is not there is made'
);
SELECT alike(tap.news(), 'config_updated config %', 'which is audited once');
SELECT results_eq(
    format('SELECT enabled FROM user_servers WHERE server_id = %L', :'retired'), ARRAY[false], 'switched off'
);

-- Restarts
SELECT is(
    tap.refusal(format('SELECT request_server_restart(%L)', c.id)), 'PT409 the server is switched off',
    'what is switched off is not started anew'
)
FROM public.user_server_configs AS c WHERE c.server_id = :'retired';
SELECT ok(
    request_server_restart(c.id) BETWEEN CURRENT_TIMESTAMP AND clock_timestamp(), 'alpha has theirs started anew, now'
)
FROM public.user_server_configs AS c WHERE c.server_id = :'shared';
SELECT alike(tap.news(), 'server_restart_requested config %', 'which is audited');
SELECT isnt(
    (SELECT u.restart_requested_at FROM user_servers AS u WHERE u.server_id = :'shared'), NULL, 'and shown'
);
SELECT c.id AS of_alpha FROM public.user_server_configs AS c WHERE c.server_id = :'shared' \gset
SET LOCAL app.current_user_id = :'beta';
SELECT is(
    tap.refusal(format('SELECT request_server_restart(%L)', :'of_alpha')),
    'PT404 there is no such configuration', 'beta does not'
);
SET LOCAL app.current_user_id = :'sam';
SELECT lives_ok(
    format('SELECT request_server_restart(%L)', :'of_alpha'), 'sam, a super_admin, does'
);
SELECT is(
    tap.details(), jsonb_build_object('user_id', :'alpha', 'server_id', :'shared'), 'the trail says whose it was'
);

-- The view
SELECT hasnt_column('public', 'user_servers', 'encrypted_config', 'user_servers has no value');
SET LOCAL app.current_user_id = :'beta';
SELECT results_eq(
    'SELECT DISTINCT user_id FROM user_servers', ARRAY[:'beta']::uuid[], 'beta sees their own servers there'
);

-- Images
RESET ROLE;
SELECT is(
    (SELECT array_agg(v.image) FROM unnest(ARRAY[
        'x', 'alpha/tool', 'ghcr.io/acme/tool:1.2', 'localhost:5000/a', '[::1]:5000/a/b', 'a.b-c_d__e---f/g',
        'Registry/a', 'a:Tag_1.0-x', 'a@sha256:' || repeat('0a', 32), 'a:b@sha512:' || repeat('0a', 64),
        'a:' || repeat('t', 128), repeat('a', 255), repeat('a', 65), 'host:5000/a:1'
    ]) AS v (image) WHERE NOT public.valid_image_reference(v.image)),
    NULL, 'these are references of images'
);
SELECT is(
    (SELECT array_agg(v.image) FROM unnest(ARRAY[
        '', ' ', 'A', 'a b', 'a/', '/a', 'a//b', 'a:', 'a:-t', 'a@', 'a@sha256:', 'a@sha256:' || repeat('0A', 32),
        'a@sha256:' || repeat('0a', 31), 'a@md5:' || repeat('0a', 16), 'a:' || repeat('t', 129), repeat('a', 256),
        repeat('0a', 32), '-a', 'a-', 'a___b', 'a..b', 'a_.b', 'host:port/a', 'a:1:2', 'https://a/b', E'a\n', E'a\nb',
        'ä', 'a/b;rm', '$(a)', 'a' || repeat('/b', 300), 'a:b@sha256:x'
    ]) AS v (image) WHERE public.valid_image_reference(v.image)),
    NULL, 'and these are none'
);

SELECT finish();
ROLLBACK;
