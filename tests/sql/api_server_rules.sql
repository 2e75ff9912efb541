-- A super_admin, who reaches every configuration, switches and changes their own alone.
\ir begin.psql
\ir tenants.psql
SELECT plan(41);

\set alpha 'a0000000-0000-0000-0000-000000000001'
\set beta 'b0000000-0000-0000-0000-000000000001'
\set sam 'f0000000-0000-0000-0000-000000000001'
\set tool '0a000000-0000-0000-0000-000000000001'
\set shared '0b000000-0000-0000-0000-000000000001'
\set spare '0b000000-0000-0000-0000-000000000002'

INSERT INTO public.mcp_servers (id, name, image)
VALUES (:'spare', 'spare-tool', 'shared/spare');
-- beta has had a server of alpha's, which they see no more.
INSERT INTO public.user_server_configs (user_id, server_id, enabled)
VALUES (:'beta', :'tool', false);
SELECT c.id AS of_sam FROM public.user_server_configs AS c WHERE c.user_id = :'sam' \gset

-- Who has the shared server on
CREATE FUNCTION tap.on() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
    SELECT string_agg(u.azure_oid, ' ' ORDER BY u.azure_oid)
    FROM public.user_server_configs AS c
    INNER JOIN public.users AS u ON c.user_id = u.id
    WHERE c.server_id = '0b000000-0000-0000-0000-000000000001' AND c.enabled
$$;
-- What the trail has, and nothing of it twice.
CREATE FUNCTION tap.news() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_news text := (
        SELECT string_agg(concat_ws(' ', l.action, l.resource_type, l.resource_id, l.details), ', ')
        FROM public.audit_logs AS l
    );
BEGIN
    PERFORM set_config('portal.audit_retention', pg_current_xact_id()::text, true);
    DELETE FROM public.audit_logs;
    RETURN v_news;
END;
$$;
-- What a call is refused with: the state and what it says of it.
CREATE FUNCTION tap.refusal(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_detail text;
BEGIN
    EXECUTE call;
    RETURN 'done';
EXCEPTION
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS v_detail = PG_EXCEPTION_DETAIL;
        RETURN SQLSTATE || ' ' || v_detail;
END;
$$;

-- One server
SET LOCAL ROLE portal_app;
SELECT set_app_context(:'sam');
SELECT is(tap.on(), 'alpha beta sam', 'three have it on');
SELECT results_eq(
    format('SELECT d.config_id, d.outcome FROM disable_server(%L) AS d', :'shared'),
    format($$VALUES (%L::uuid, 'disabled')$$, :'of_sam'), 'sam switches theirs off'
);
SELECT is(tap.on(), 'alpha beta', 'and nobody else''s');
SELECT is(
    tap.news(), format('server_disabled server %s {"config_id": "%s"}', :'shared', :'of_sam'),
    'the trail names their configuration'
);
SELECT results_eq(
    format('SELECT d.config_id, d.outcome FROM disable_server(%L) AS d', :'shared'),
    format($$VALUES (%L::uuid, 'unchanged')$$, :'of_sam'), 'again is unchanged, and tells theirs'
);
SELECT results_eq(
    format('SELECT e.config_id, e.outcome FROM enable_server(%L) AS e', :'shared'),
    format($$VALUES (%L::uuid, 'enabled')$$, :'of_sam'), 'sam switches theirs on'
);
SELECT is(
    tap.news(), format('server_enabled server %s {"config_id": "%s"}', :'shared', :'of_sam'),
    'the trail names it again'
);
SELECT results_eq(
    format('SELECT e.config_id, e.outcome FROM enable_server(%L) AS e', :'shared'),
    format($$VALUES (%L::uuid, 'unchanged')$$, :'of_sam'),
    'again is unchanged, and tells theirs alone'
);

-- Many
SELECT results_eq(
    format(
        'SELECT b.server_id, b.config_id, b.outcome FROM bulk_disable(ARRAY[%L]::uuid[]) AS b',
        :'shared'
    ),
    format($$VALUES (%L::uuid, %L::uuid, 'disabled')$$, :'shared', :'of_sam'),
    'sam switches theirs off in a list'
);
SELECT is(tap.on(), 'alpha beta', 'and nobody else''s');
SELECT results_eq(
    format(
        'SELECT b.server_id, b.config_id, b.outcome FROM bulk_enable(ARRAY[%L]::uuid[]) AS b',
        :'shared'
    ),
    format($$VALUES (%L::uuid, %L::uuid, 'enabled')$$, :'shared', :'of_sam'),
    'and on, which is told of theirs alone'
);
SELECT is(
    tap.news(),
    format(
        'bulk_disable server {"server_ids": ["%1$s"]}, bulk_enable server {"server_ids": ["%1$s"]}',
        :'shared'
    ),
    'the trail has the list'
);
SELECT is(
    tap.refusal(format('SELECT bulk_enable(%s)', v.ids)), 'PT400 ' || v.said,
    'a list is refused for ' || v.what
)
FROM (
    VALUES
    ('being none', 'NULL', 'It is NULL.'),
    ('a NULL in it', 'ARRAY[NULL]::uuid[]', 'An id in it is NULL.'),
    (
        'its length', '(SELECT array_agg(uuid_generate_v4()) FROM generate_series(1, 1001))',
        'It has 1001 ids.'
    )
) AS v (what, ids, said);

-- As beta: a configuration of their own counts, even where the server is not to be seen
SELECT set_app_context(:'beta');
SELECT is(
    (SELECT d.outcome FROM disable_server(:'tool') AS d), 'unchanged',
    'what beta has, and sees no server of, is off'
);
SELECT is(
    (SELECT b.outcome FROM bulk_disable(ARRAY[:'tool']::uuid[]) AS b), 'unchanged', 'in a list too'
);
SELECT is(tap.news(), NULL, 'none of it is audited');

-- Settings
SELECT set_app_context(:'sam');
SELECT results_eq(
    format(
        $$SELECT u.config_id, u.outcome FROM update_server_config(%L, NULL, '{"k": 1}') AS u$$,
        :'shared'
    ),
    format($$VALUES (%L::uuid, 'updated')$$, :'of_sam'), 'sam changes the metadata of theirs'
);
SELECT results_eq(
    $$SELECT c.user_id FROM public.user_server_configs AS c WHERE c.config_metadata <> '{}'$$,
    ARRAY[:'sam']::uuid[], 'and of nobody else''s'
);
SELECT alike(
    tap.news(), format('config_updated config %s %%"changed": ["config_metadata"]%%', :'of_sam'),
    'which is audited once'
);
SELECT is(
    (SELECT u.outcome FROM update_server_config(:'shared', p_clear_secret => true) AS u),
    'unchanged',
    'where there is no value none is taken away'
);
SELECT is(tap.news(), NULL, 'and nothing audited');
SELECT is(
    tap.refusal(
        format($$SELECT update_server_config(%L, p_expected_updated_at => 'epoch')$$, :'spare')
    ),
    'PT409 Nothing was stored.',
    'a state of what is not there is refused, though nothing is to change'
);
SELECT is(
    (
        SELECT u.outcome
        FROM update_server_config(
            :'spare',
            encrypt_sensitive_data(
                'x', '0123456789abcdef',
                sensitive_data_context('user_server_configs', 'encrypted_config', :'sam', :'spare')
            )
        ) AS u
    ), 'created', 'a configuration is made for a value alone'
);
SELECT alike(
    tap.news(), 'config_updated config %"changed": ["encrypted_config"], "created": true%',
    'the trail says that it has a value'
);
SELECT is(
    (SELECT u.outcome FROM update_server_config(:'spare', p_clear_secret => true) AS u), 'updated',
    'which is taken away'
);
SELECT alike(
    tap.news(), 'config_updated config %"changed": ["encrypted_config"], "created": false%',
    'and audited as that'
);

-- What a custom server may be
RESET ROLE;
SELECT is(
    custom_server_fault('x', '{"image": "x"}'::jsonb || v.part), v.fault,
    'a custom server with ' || v.what
)
FROM (
    VALUES
    (
        'a number for a name', '{"display_name": 1}'::jsonb,
        'display_name is no text of at most 255 letters'
    ),
    ('a list about it', '[]', 'definition is no object'),
    ('a text for tags', '{"tags": "x"}', 'tags is no list'),
    (
        'a number for a tag', '{"tags": [1]}',
        'tags is no list of at most 100 texts of 1 to 100 letters'
    ),
    ('a tag', '{"tags": ["x"]}', NULL),
    ('null for tags', '{"tags": null}', NULL),
    ('a truth', '{"is_active": true}', NULL),
    ('a list for a version', '{"version": []}', 'version is no text of at most 50 letters'),
    ('a text for a truth', '{"is_active": "true"}', 'is_active is no boolean'),
    ('null for a truth', '{"is_active": null}', NULL),
    ('null for a text', '{"category": null}', NULL)
) AS v (what, part, fault);
SELECT is(
    valid_image_reference(
        repeat('a', v.letters) || ':' || repeat('t', 128) || '@sha512:' || repeat('0a', 64)
    ),
    v.letters <= 235, format('an image reference of %s letters', v.letters + 265)
)
FROM (VALUES (235), (236)) AS v (letters);

SELECT finish();
ROLLBACK;
