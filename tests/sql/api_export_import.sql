-- A document of a user's configurations: no secret in it, and an import that tells of each entry.
\ir begin.psql
\ir tenants.psql
SELECT plan(74);

\set alpha 'a0000000-0000-0000-0000-000000000001'
\set beta 'b0000000-0000-0000-0000-000000000001'
\set tess 'e0000000-0000-0000-0000-000000000001'
\set tool '0a000000-0000-0000-0000-000000000001'
\set shared '0b000000-0000-0000-0000-000000000001'

CREATE TABLE tap.seen (id uuid);
GRANT SELECT, INSERT ON tap.seen TO PUBLIC;
CREATE FUNCTION tap.news() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
    WITH fresh AS (
        INSERT INTO tap.seen SELECT a.id FROM public.audit_logs AS a
        WHERE NOT EXISTS (SELECT 1 FROM tap.seen AS s WHERE s.id = a.id)
        RETURNING id
    )
    SELECT string_agg(a.action || ' ' || a.details, ', ' ORDER BY a.timestamp)
    FROM public.audit_logs AS a INNER JOIN fresh ON a.id = fresh.id
$$;
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
        RETURN SQLSTATE || ' ' || v_message || ': ' || v_detail;
END;
$$;
-- A document of these entries.
CREATE FUNCTION tap.document(VARIADIC entries jsonb[]) RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('format', 'mcp_portal.configs', 'version', 1, 'configs', to_jsonb(entries))
$$;
CREATE FUNCTION tap.entry(name text, more jsonb DEFAULT '{}') RETURNS jsonb LANGUAGE sql AS $$
    SELECT jsonb_build_object('name', name, 'catalog_type', 'predefined', 'enabled', true) || more
$$;
-- What became of each entry.
CREATE FUNCTION tap.told(
    document jsonb, all_or_nothing boolean DEFAULT true, overwrite boolean DEFAULT false
) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT concat_ws(
        ' ', i.ordinal || '.', coalesce(i.name, '?'), i.outcome, '(' || i.reason || ')',
        CASE WHEN i.secret_missing THEN 'without its secret' END
    ) FROM public.import_configs(document, all_or_nothing, overwrite) AS i
$$;

SELECT
    public.encrypt_sensitive_data('x', '0123456789abcdef') AS anywhere,
    public.encrypt_sensitive_data(
        'x', '0123456789abcdef',
        public.sensitive_data_context(
            'user_server_configs', 'encrypted_config', :'alpha', :'shared'
        )
    ) AS bound
\gset
UPDATE public.user_server_configs
SET encrypted_config = :'bound', config_metadata = '{"region": "eu"}'
WHERE user_id = :'alpha';
-- alpha has a server of their own too, without a configuration, and one of a name of the catalog
UPDATE public.mcp_servers SET tags = ARRAY['a'], metadata = '{"n": null}', is_active = false
WHERE id = :'tool';
INSERT INTO public.mcp_servers (name, image, catalog_type, created_by) VALUES
('shared-tool', 'alpha/shared', 'custom', :'alpha'),
('beta-tool', 'beta/tool', 'custom', :'beta');
INSERT INTO public.user_server_configs (user_id, server_id)
SELECT
    s.created_by,
    s.id
FROM public.mcp_servers AS s
WHERE s.name = 'shared-tool' AND s.catalog_type = 'custom';

-- Nobody
SET LOCAL ROLE portal_app;
SELECT alike(tap.refusal('SELECT export_configs()'), 'PT401 %', 'nobody exports');
SELECT alike(tap.refusal($$SELECT import_configs('{}')$$), 'PT401 %', 'nobody imports');

-- As alpha
SET LOCAL app.current_user_id = :'alpha';
SELECT is(
    export_configs() - 'exported_at',
    $$
    {"format": "mcp_portal.configs", "version": 1, "configs": [
        {"name": "shared-tool", "catalog_type": "predefined", "enabled": true, "config_metadata": {"region": "eu"},
         "has_secret": true},
        {"name": "alpha-tool", "catalog_type": "custom", "definition": {
            "image": "alpha/tool", "display_name": null, "description": null, "category": null, "tags": ["a"],
            "metadata": {"n": null}, "version": null, "is_active": false}},
        {"name": "shared-tool", "catalog_type": "custom", "enabled": false, "config_metadata": {}, "has_secret": false,
         "definition": {"image": "alpha/shared", "display_name": null, "description": null, "category": null,
            "tags": null, "metadata": {}, "version": null, "is_active": true}}
    ]}
    $$::jsonb,
    'alpha exports their configurations and their own servers, by name, and no secret'
);
SELECT is(tap.news(), 'config_exported {"configs": 3, "secrets": 0}', 'which is audited once');
SELECT is(
    export_configs(jsonb_build_object('shared-tool', jsonb_build_object('predefined', :'anywhere')))
    #> '{configs,0,secret}',
    to_jsonb(:'anywhere'::text), 'a secret that alpha encrypted for the target goes along'
);
SELECT is(tap.news(), 'config_exported {"configs": 3, "secrets": 1}', 'and is counted');
SELECT is(
    export_configs(v.secrets) #> '{configs,0}' ? 'secret', false, 'no secrets are given as ' || v.what
)
FROM (VALUES ('NULL', NULL), ('null', 'null'::jsonb), ('no entries', '{}')) AS v (what, secrets);
SELECT isnt(tap.news(), NULL, 'audited');
SELECT is(
    tap.refusal(format('SELECT export_configs(%L)', v.secrets)),
    'PT400 p_secrets cannot be taken as it is: ' || v.why, 'secrets are refused: ' || v.why
)
FROM (
    VALUES
    ('[]', 'It is no object.'),
    (jsonb_build_object('k', repeat('x', 1048576))::text, 'It has more than 1048576 bytes.'),
    (format('{"nothing": "%s"}', :'anywhere'), 'What it holds for nothing is for no configuration of the user.'),
    (format('{"alpha-tool": "%s"}', :'anywhere'), 'What it holds for alpha-tool is for no configuration of the user.'),
    (format('{"beta-tool": "%s"}', :'anywhere'), 'What it holds for beta-tool is for no configuration of the user.'),
    (format('{"shared-tool": "%s"}', :'anywhere'), 'What it holds for shared-tool is for two servers of that name.'),
    ('{"shared-tool": {}}', 'What it holds for shared-tool is for two servers of that name.'),
    ('{"shared-tool": {"custom": "plain"}}', 'What it holds for shared-tool is no encrypted value.'),
    ('{"shared-tool": {"custom": 1}}', 'What it holds for shared-tool is no encrypted value.'),
    ('{"shared-tool": {"custom": null}}', 'What it holds for shared-tool is no encrypted value.'),
    (
        format('{"shared-tool": {"other": "%s"}}', :'anywhere'),
        'What it holds for shared-tool is for no configuration of the user.'
    )
) AS v (secrets, why);
SELECT is(tap.news(), NULL, 'which is not audited');
SELECT export_configs()::text AS document \gset
SELECT tap.news() AS seen \gset

-- As alpha: what is there already
SELECT results_eq(
    format('SELECT tap.told(%L)', :'document'),
    $$VALUES
    ('1. shared-tool skipped (there is a configuration of it already)'),
    ('2. alpha-tool skipped (the server is there already)'),
    ('3. shared-tool skipped (there is a configuration of it already)')$$,
    'what alpha exported is there already'
);
SELECT results_eq(
    format('SELECT tap.told(%L, true, true)', :'document'),
    $$VALUES
    ('1. shared-tool skipped (it is as the entry says already)'),
    ('2. alpha-tool skipped (the server is there already)'),
    ('3. shared-tool skipped (it is as the entry says already)')$$,
    'and overwriting changes nothing'
);
SELECT is(tap.news(), NULL, 'so it is not audited');
SELECT results_eq(
    $$SELECT tap.told(tap.document(tap.entry('shared-tool', '{"enabled": false, "has_secret": true}')), true, true)$$,
    $$VALUES ('1. shared-tool imported')$$, 'overwriting changes what is another, and keeps the secret'
);
SELECT results_eq(
    format('SELECT enabled, config_metadata, has_secret FROM user_servers WHERE server_id = %L', :'shared'),
    $$VALUES (false, '{}'::jsonb, true)$$, 'as the entry says'
);
SELECT is(
    tap.news(),
    format(
        'config_imported {"refused": 0, "skipped": 0, "overwrite": true, "server_ids": ["%s"], "custom_servers_added": []}',
        :'shared'
    ),
    'which is audited once'
);
SELECT results_eq(
    $$SELECT tap.told(tap.document('{"name": "alpha-tool", "catalog_type": "custom", "enabled": true,
    "definition": {"image": "alpha/other"}}'))$$,
    $$VALUES ('1. alpha-tool skipped (another server of this name is there)')$$,
    'another server of the name is not taken for it'
);
SELECT results_eq(
    $$SELECT tap.told(tap.document('{"name": "alpha-tool", "catalog_type": "custom", "enabled": true,
    "definition": {"image": "alpha/other"}}'), true, true)$$,
    $$VALUES ('1. alpha-tool imported')$$, 'unless what is there is to be overwritten'
);
SELECT results_eq(
    format('SELECT image::text, is_active, tags FROM mcp_servers WHERE id = %L', :'tool'),
    $$VALUES ('alpha/other', true, NULL::text[])$$, 'as the entry says'
);
SELECT isnt(tap.news(), NULL, 'audited');

-- As beta: a name is taken, whoever has it
SET LOCAL app.current_user_id = :'beta';
SELECT results_eq(
    format('SELECT tap.told(%L)', :'document'),
    $$VALUES
    ('1. shared-tool skipped (there is a configuration of it already) without its secret'),
    ('2. alpha-tool refused (the name is taken)'),
    ('3. shared-tool refused (the name is taken)')$$,
    'beta is told that names are taken, and no more'
);
SELECT results_eq(
    $$SELECT tap.told(tap.document('{"name": "alpha-tool", "catalog_type": "custom", "enabled": true}'), false)$$,
    $$VALUES ('1. alpha-tool refused (there is no such server here)')$$,
    'another''s server is as one that is not there'
);

-- As tess, a team_admin, who sees alpha's
SET LOCAL app.current_user_id = :'tess';
SELECT results_eq(
    format('SELECT tap.told(%L)', :'document'),
    $$VALUES
    ('1. shared-tool skipped (nothing is imported, because an entry is refused)'),
    ('2. alpha-tool refused (the name is taken)'),
    ('3. shared-tool refused (the name is taken)')$$,
    'an admin who sees the server is told the same, and where one is refused nothing is imported'
);
SELECT is_empty(format('SELECT 1 FROM user_servers WHERE user_id = %L', :'tess'), 'nothing at all');
SELECT is(tap.news(), NULL, 'and nothing is audited');
SELECT results_eq(
    format('SELECT tap.told(%L, false)', :'document'),
    $$VALUES
    ('1. shared-tool imported without its secret'),
    ('2. alpha-tool refused (the name is taken)'),
    ('3. shared-tool refused (the name is taken)')$$,
    'else each entry is by itself, and a secret that is not here is told of'
);
SELECT alike(
    tap.news(), 'config_imported {"refused": 2, "skipped": 0, %', 'which is audited once'
);
SELECT results_eq(
    format($$SELECT tap.told(tap.document(tap.entry('shared-tool', '{"secret": "%s"}')), true, true)$$, :'anywhere'),
    $$VALUES ('1. shared-tool imported')$$, 'a secret that the document brings is stored'
);
SELECT results_eq(
    format($$SELECT tap.told(tap.document(tap.entry('shared-tool', '{"secret": "%s"}')), true, true)$$, v.value),
    ARRAY['1. shared-tool refused (encrypted_config ' || v.why || ')'], 'but not one that ' || v.why
)
FROM (
    VALUES (:'bound', 'is bound to another row'), ('plain', 'is not an encrypted value')
) AS v (value, why);
SELECT isnt(tap.news(), NULL, 'audited');

-- As tess: documents that are none
SELECT is(
    tap.refusal(format('SELECT import_configs(%s)', v.document)),
    'PT400 the document cannot be imported: ' || v.why, 'a document is refused: ' || v.why
)
FROM (
    VALUES
    ('NULL', 'It is no object.'),
    ($$'[]'$$, 'It is no object.'),
    ($$'{"format": "mcp_portal.configs", "version": 1}'::jsonb || jsonb_build_object('x', repeat('x', 1048576))$$,
        'It has more than 1048576 bytes.'),
    ($$'{"format": "other", "version": 1, "configs": []}'$$, 'Its format is not mcp_portal.configs.'),
    ($$'{"format": "mcp_portal.configs", "version": 2, "configs": []}'$$, 'Its version is not 1.'),
    ($$'{"format": "mcp_portal.configs", "version": "1", "configs": []}'$$, 'Its version is not 1.'),
    ($$'{"format": "mcp_portal.configs", "version": 1, "configs": {}}'$$, 'Its configs is no list.'),
    ($$'{"format": "mcp_portal.configs", "version": 1}'$$, 'Its configs is no list.'),
    ($$tap.document(VARIADIC array_fill('{}'::jsonb, ARRAY[1001]))$$, 'It has 1001 entries.')
) AS v (document, why);
SELECT is_empty(
    $$SELECT tap.told('{"format": "mcp_portal.configs", "version": 1, "configs": []}')$$, 'no entries are taken'
);

-- As tess: entries that are none
SELECT results_eq(
    format('SELECT tap.told(tap.document(%L))', v.entry),
    ARRAY[format('1. %s refused (%s)', v.name, v.why)], 'an entry is refused: ' || v.why
)
FROM (
    VALUES
    ('1', '?', 'the entry is no object'),
    ('[{}]', '?', 'the entry is no object'),
    ('{"catalog_type": "predefined"}', '?', 'name is no text of 1 to 255 letters'),
    ('{"name": {"name": "x"}}', '?', 'name is no text of 1 to 255 letters'),
    ('{"name": "x", "catalog_type": "both"}', 'x', 'catalog_type is neither predefined nor custom'),
    ('{"name": "x", "catalog_type": "predefined"}', 'x', 'enabled is missing'),
    ('{"name": "x", "catalog_type": "predefined", "enabled": "yes"}', 'x', 'enabled is no boolean'),
    ('{"name": "x", "catalog_type": "predefined", "enabled": null}', 'x', 'enabled is no boolean'),
    ('{"name": "x", "catalog_type": "predefined", "enabled": true, "config_metadata": 1}', 'x',
        'config_metadata is no object of at most 65536 bytes'),
    ('{"name": "x", "catalog_type": "predefined", "enabled": true, "has_secret": 1}', 'x', 'has_secret is no boolean'),
    ('{"name": "x", "catalog_type": "predefined", "enabled": true, "secret": {}}', 'x', 'secret is no text'),
    ('{"name": "x", "catalog_type": "predefined", "enabled": true, "definition": {}}', 'x',
        'a predefined server is not defined by a document'),
    ('{"name": "x", "catalog_type": "custom", "enabled": true, "definition": []}', 'x', 'definition is no object'),
    ('{"name": "x", "catalog_type": "custom", "enabled": true, "definition": {"image": " "}}', 'x',
        'image is no Docker image reference'),
    ('{"name": "x", "catalog_type": "custom", "definition": {"image": "x", "is_active": 1}}', 'x',
        'is_active is no boolean'),
    ('{"name": "x", "catalog_type": "custom", "definition": {"image": "x", "tags": {}}}', 'x', 'tags is no list'),
    ('{"name": "x", "catalog_type": "predefined", "enabled": true}', 'x', 'there is no such server here')
) AS v (entry, name, why);
SELECT results_eq(
    $$SELECT tap.told(tap.document(
        tap.entry('shared-tool'), tap.entry('x'), tap.entry('shared-tool'), tap.entry('x'), '{}', '{}'
    ), false)$$,
    $$VALUES
    ('1. shared-tool skipped (there is a configuration of it already)'),
    ('2. x refused (there is no such server here)'),
    ('3. shared-tool refused (an entry before it is for the same server)'),
    ('4. x refused (an entry before it is for the same server)'),
    ('5. ? refused (name is no text of 1 to 255 letters)'),
    ('6. ? refused (name is no text of 1 to 255 letters)')$$,
    'a server twice is refused the second time'
);
SELECT results_eq(
    $$SELECT DISTINCT i.outcome, i.reason
    FROM import_configs(tap.document(('{"name": "x", "catalog_type": "custom", "enabled": true, "definition": {"image": "x",
    "metadata": ' || repeat('{"k":[', 1000) || repeat(']}', 1000) || '}}')::jsonb)) AS i$$,
    $$VALUES ('imported', NULL)$$, 'what is nested deeply is data like any other'
);

-- Who may not add servers, and what is out of use
RESET ROLE;
UPDATE public.settings SET value = 'nobody' WHERE name = 'custom_servers';
UPDATE public.mcp_servers SET is_active = false WHERE id = :'shared';
DELETE FROM public.user_server_configs WHERE user_id = :'beta';
SET LOCAL ROLE portal_app;
SET LOCAL app.current_user_id = :'beta';
SELECT results_eq(
    $$SELECT tap.told(tap.document(
        tap.entry('shared-tool'),
        '{"name": "new", "catalog_type": "custom", "enabled": true, "definition": {"image": "x"}}',
        '{"name": "beta-tool", "catalog_type": "custom", "enabled": true, "definition": {"image": "x"}}'
    ), false, true)$$,
    $$VALUES
    ('1. shared-tool refused (the server is out of use here)'),
    ('2. new refused (the user may not add custom servers)'),
    ('3. beta-tool refused (the server, or the right to it, was taken away meanwhile)')$$,
    'servers are added and changed by whom the setting allows alone'
);
SELECT results_eq(
    $$SELECT tap.told(tap.document(tap.entry('shared-tool', '{"enabled": false}')))$$,
    $$VALUES ('1. shared-tool imported')$$, 'what is out of use is imported switched off'
);

SELECT finish();
ROLLBACK;
