-- encrypted_config holds encrypted values of its own row alone; rotation rewrites everyone's.
\ir begin.psql
\ir tenants.psql
SELECT plan(62);

\set key '0123456789abcdef'
\set server '0b000000-0000-0000-0000-000000000001'
\set alpha 'a0000000-0000-0000-0000-000000000001'
\set beta 'b0000000-0000-0000-0000-000000000001'

CREATE FUNCTION tap.bound(data text, user_id uuid, server_id uuid) RETURNS text LANGUAGE sql AS $$
    SELECT public.encrypt_sensitive_data(
        data, '0123456789abcdef',
        public.sensitive_data_context('user_server_configs', 'encrypted_config', user_id, server_id),
        'k1'
    )
$$;
-- What refusing a value says, all of it.
CREATE FUNCTION tap.said(value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_constraint text;
    v_message    text;
    v_detail     text;
    v_hint       text;
BEGIN
    UPDATE public.user_server_configs SET encrypted_config = value;
    RETURN 'taken';
EXCEPTION
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS
            v_constraint = CONSTRAINT_NAME,
            v_message = MESSAGE_TEXT,
            v_detail = PG_EXCEPTION_DETAIL,
            v_hint = PG_EXCEPTION_HINT;
        RETURN concat_ws(' | ', SQLSTATE, v_constraint, v_message, v_detail, v_hint);
END;
$$;

-- What rotation writes: it encrypts elsewhere.
SELECT
    tap.bound('{"token": "t"}', :'beta', :'server') AS anew,
    public.sensitive_data_thumbprint(:'key') AS thumbprint
\gset

-- As alpha
SET LOCAL ROLE portal_app;
SET LOCAL app.current_user_id = :'alpha';
SELECT lives_ok(
    format(
        'UPDATE public.user_server_configs SET encrypted_config = %L',
        tap.bound('alpha''s', :'alpha', :'server')
    ),
    'alpha stores a value that is bound to their row'
);
SELECT results_eq(
    $$SELECT public.decrypt_sensitive_data(
        c.encrypted_config, '0123456789abcdef',
        public.sensitive_data_context('user_server_configs', 'encrypted_config', c.user_id, c.server_id), 'k1'
    ) FROM public.user_server_configs AS c$$,
    ARRAY['alpha''s'], 'and reads it'
);
SELECT lives_ok(
    format(
        'INSERT INTO public.user_server_configs (user_id, server_id, encrypted_config) VALUES (%L, %L, %L)
        ON CONFLICT ON CONSTRAINT unique_user_server
        DO UPDATE SET encrypted_config = EXCLUDED.encrypted_config',
        :'alpha', :'server', tap.bound('again', :'alpha', :'server')
    ),
    'alpha stores it by an upsert, which gives the row another id'
);
SELECT lives_ok(
    format(
        'UPDATE public.user_server_configs SET encrypted_config = %L',
        public.encrypt_sensitive_data('x', :'key')
    ),
    'alpha stores a value that is bound to nothing'
);
SELECT lives_ok('UPDATE public.user_server_configs SET encrypted_config = NULL', 'alpha stores none');
SELECT throws_ok(
    format('UPDATE public.user_server_configs SET encrypted_config = %L', v.value), '23514',
    'encrypted_config is not an encrypted value', format('alpha cannot store %s', v.what)
)
FROM (
    VALUES
    ('nothing', ''),
    ('a plain text', '{"token": "t"}'),
    ('the old format', encode(public.encrypt('{"token": "t"}', :'key', 'aes'), 'base64')),
    ('a value cut short', left(tap.bound('x', :'alpha', :'server'), -1)),
    ('a value with more behind', tap.bound('x', :'alpha', :'server') || 'A'),
    ('a value with padding', tap.bound('x', :'alpha', :'server') || '='),
    ('a value with a line break', tap.bound('x', :'alpha', :'server') || E'\n'),
    ('a value without its tag', regexp_replace(tap.bound('x', :'alpha', :'server'), '[^.]*$', '')),
    ('a signed token', 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA')
) AS v (what, value);
SELECT throws_ok(
    format(
        'UPDATE public.user_server_configs SET encrypted_config = %L',
        public.base64url_encode(convert_to(h.header, 'UTF8'))
        || regexp_replace(public.encrypt_sensitive_data('x', :'key'), '^[^.]*', '')
    ),
    '23514', 'encrypted_config is not an encrypted value', format('alpha cannot store %s', h.what)
)
FROM (
    VALUES
    ('alg none', '{"alg":"none","enc":"A256CBC-HS512","kid":"k1"}'),
    ('another enc', '{"alg":"dir","enc":"A128CBC-HS256","kid":"k1"}'),
    ('a length of another enc', '{"alg":"dir","enc":"A256GCM","kid":"k1"}'),
    ('crit', '{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","crit":["x"],"x":1}'),
    ('zip', '{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","zip":"DEF"}'),
    ('a member twice', '{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","kid":"k2"}'),
    ('no key id', '{"alg":"dir","enc":"A256CBC-HS512"}'),
    ('an odd cty', '{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","cty":"text/plain; ctx=none"}'),
    ('a header that is no object', '["alg","dir"]')
) AS h (what, header);
SELECT throws_ok(
    format('UPDATE public.user_server_configs SET encrypted_config = %L', v.value), '23514',
    'encrypted_config is bound to another row', format('alpha cannot store a value of %s', v.what)
)
FROM (
    VALUES
    ('beta''s row', tap.bound('x', :'beta', :'server')),
    ('their row for another server', tap.bound('x', :'alpha', :'alpha')),
    ('another column', public.encrypt_sensitive_data(
        'x', :'key',
        public.sensitive_data_context('user_server_configs', 'container_id', :'alpha', :'server')
    )),
    ('another table', public.encrypt_sensitive_data(
        'x', :'key', public.sensitive_data_context('users', 'encrypted_config', :'alpha', :'server')
    ))
) AS v (what, value);
SELECT throws_ok(
    format(
        'INSERT INTO public.user_server_configs (user_id, server_id, encrypted_config) VALUES (%L, %L, %L)',
        :'alpha', '0a000000-0000-0000-0000-000000000001', 'plain'
    ),
    '23514', 'encrypted_config is not an encrypted value', 'alpha inserts no plain text'
);
SELECT throws_ok(
    format(
        'INSERT INTO public.user_server_configs (user_id, server_id, encrypted_config) VALUES (%L, %L, %L)',
        :'alpha', '0a000000-0000-0000-0000-000000000001', tap.bound('x', :'alpha', :'server')
    ),
    '23514', 'encrypted_config is bound to another row', 'nor what is bound to another row of theirs'
);
SELECT alike(
    tap.said('a secret in plain text'), '23514 | require_encrypted_config | %',
    'what is refused is refused by the trigger''s name'
);
SELECT unalike(
    tap.said('a secret in plain text'), '%a secret%', 'and no word of it is in the error'
);
SELECT unalike(
    tap.said(v.value), '%' || v.value || '%', 'nor of what is bound to another row'
)
FROM (SELECT tap.bound('x', :'beta', :'server') AS value) AS v;

-- As sam, a super_admin, who reaches both
SET LOCAL app.current_user_id = 'f0000000-0000-0000-0000-000000000001';
UPDATE public.user_server_configs AS c SET encrypted_config = tap.bound('x', c.user_id, c.server_id)
WHERE c.user_id IN (:'alpha', :'beta');
SELECT throws_ok(
    $$UPDATE public.user_server_configs AS c SET encrypted_config = other.encrypted_config
    FROM public.user_server_configs AS other
    WHERE c.server_id = other.server_id AND c.user_id <> other.user_id
    AND c.encrypted_config IS NOT NULL AND other.encrypted_config IS NOT NULL$$,
    '23514', 'encrypted_config is bound to another row', 'nobody swaps the values of two rows'
);

-- Without the trigger
RESET ROLE;
ALTER TABLE public.user_server_configs DISABLE TRIGGER require_encrypted_config;
SELECT throws_ok(
    $$UPDATE public.user_server_configs SET encrypted_config = 'plain'$$, '23514',
    'new row for relation "user_server_configs" violates check constraint "valid_encrypted_config"',
    'valid_encrypted_config refuses plain text by itself'
);

-- A row of the time before: neither was there when it was written
ALTER TABLE public.user_server_configs DROP CONSTRAINT valid_encrypted_config;
UPDATE public.user_server_configs
SET encrypted_config = encode(public.encrypt('{"token": "t"}', :'key', 'aes'), 'base64')
WHERE user_id = :'beta';
UPDATE public.user_server_configs SET encrypted_config = public.encrypt_sensitive_data('x', :'key')
WHERE user_id = 'f0000000-0000-0000-0000-000000000001';
ALTER TABLE public.user_server_configs ENABLE TRIGGER require_encrypted_config;
SET LOCAL ROLE portal_runner;
SELECT lives_ok(
    $$UPDATE public.user_server_configs SET container_state = 'stopped'$$,
    'the runner still changes the state of a row that holds an old value'
);
SET LOCAL ROLE portal_app;
SET LOCAL app.current_user_id = :'beta';
SELECT lives_ok(
    'UPDATE public.user_server_configs SET enabled = false', 'beta still switches it off'
);
SELECT throws_ok(
    'UPDATE public.user_server_configs SET encrypted_config = encrypted_config', '23514',
    'encrypted_config is not an encrypted value', 'but nobody writes the old value again'
);
SELECT throws_ok(
    $$SELECT public.decrypt_legacy_sensitive_data('x', 'x')$$, '42501', NULL,
    'a service does not open the old format'
);

-- As the monitor
SET LOCAL ROLE portal_monitor;
SELECT results_eq(
    'SELECT m.kid, m.enc, m.bound, m.count FROM public.monitor_encryption_keys AS m ORDER BY m.bound DESC NULLS LAST',
    format(
        $$VALUES
        ('k1', 'A256CBC-HS512', true, 1::bigint),
        (%L, 'A256CBC-HS512', false, 1),
        (NULL, NULL, NULL, 1)$$,
        :'thumbprint'
    ),
    'the monitor counts values by key, and what is no value under none'
);
SELECT throws_ok(
    'SELECT encrypted_config FROM public.user_server_configs', '42501', NULL, 'and reads none of them'
);

-- As the maintenance role
SET LOCAL ROLE portal_maintenance;
SELECT results_eq(
    $$SELECT public.decrypt_legacy_sensitive_data(c.encrypted_config, '0123456789abcdef')
    FROM public.user_server_configs AS c
    WHERE public.sensitive_data_kid(c.encrypted_config) IS NULL AND c.encrypted_config IS NOT NULL$$,
    ARRAY['{"token": "t"}'], 'rotation finds the old value and opens it'
);
SELECT lives_ok(
    format(
        'UPDATE public.user_server_configs SET encrypted_config = %L
        WHERE encrypted_config IS NOT NULL AND NOT public.sensitive_data_well_formed(encrypted_config)',
        :'anew'
    ),
    'and stores it encrypted anew'
);
SELECT throws_ok(
    $$UPDATE public.user_server_configs SET encrypted_config = 'plain'$$, '23514',
    'encrypted_config is not an encrypted value', 'rotation stores no plain text either'
);
SELECT throws_ok(
    format('UPDATE public.user_server_configs SET encrypted_config = %L WHERE user_id <> %L', v.value, :'beta'),
    '23514', 'encrypted_config is bound to another row', 'nor a value of another row'
)
FROM (SELECT encrypted_config AS value FROM public.user_server_configs WHERE user_id = :'beta') AS v;
SELECT throws_ok(
    'SELECT count(*) FROM public.monitor_encryption_keys', '42501', NULL, 'it does not read the monitor''s view'
);
RESET ROLE;
SELECT lives_ok(
    $$ALTER TABLE public.user_server_configs ADD CONSTRAINT valid_encrypted_config CHECK (
        encrypted_config IS NULL OR public.sensitive_data_well_formed(encrypted_config)
    )$$,
    'and after it every row is as valid_encrypted_config wants it'
);

-- The old format, for whoever converts it
SELECT is(
    public.decrypt_legacy_sensitive_data(
        encode(public.encrypt(t::bytea, k::bytea, 'aes'), 'base64'), k
    ),
    t, format('what the schema document''s formula made of %L with a key of %s opens', left(t, 6), length(k))
)
FROM unnest(ARRAY['', 'secret', repeat('y', 300)]) AS t
CROSS JOIN unnest(ARRAY['', 'short', repeat('k', 40)]) AS k;
SELECT throws_ok(
    format('SELECT public.decrypt_legacy_sensitive_data(%L, %L)', v.value, v.key), '22000',
    'the value cannot be decrypted', format('%s is refused, in the one way', v.what)
)
FROM (
    VALUES
    ('another key', 'j5/ZJfL3dE1rN5wIVEaaYA==', repeat('x', 16)),
    ('no key', 'j5/ZJfL3dE1rN5wIVEaaYA==', NULL),
    ('a key that is no bytea', 'j5/ZJfL3dE1rN5wIVEaaYA==', 'a\b'),
    ('what is no base64', '{"token": "t"}', 'k'),
    ('half a block', 'AAAA', 'k'),
    ('nothing', '', 'k')
) AS v (what, value, key);
SELECT is(public.decrypt_legacy_sensitive_data(NULL, 'k'), NULL, 'NULL stays NULL');

SELECT finish();
ROLLBACK;
