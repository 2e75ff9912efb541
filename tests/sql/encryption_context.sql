-- A value opens with its own key, in its own context and in one spelling; all else is refused.
\ir begin.psql
\ir envelope.psql
SELECT plan(99);

\set key '0123456789abcdef'

-- Contexts
SELECT is(
    public.sensitive_data_context(
        'user_server_configs', 'encrypted_config',
        '6F9619FF-8B86-D011-B42D-00C04FC964FF', '0b000000-0000-0000-0000-000000000001'
    ),
    'user_server_configs.encrypted_config'
    '.6f9619ff-8b86-d011-b42d-00c04fc964ff.0b000000-0000-0000-0000-000000000001',
    'a context is table, column, user and server, in lowercase'
);
CREATE TEMPORARY TABLE bound AS
SELECT
    t.text,
    c.context,
    public.encrypt_sensitive_data(t.text, :'key', c.context) AS value
FROM unnest(ARRAY['', 'secret', repeat('ü', 2000)]) AS t (text)
CROSS JOIN unnest(ARRAY['t.c.1.2', 't.c.2.1', repeat('x', 200)]) AS c (context);

SELECT is(
    public.decrypt_sensitive_data(b.value, :'key', b.context), b.text,
    format('%s characters open in %s', length(b.text), left(b.context, 10))
)
FROM bound AS b;
SELECT is(
    convert_from(public.base64url_decode(split_part(b.value, '.', 1)), 'UTF8'),
    '{"alg":"dir","enc":"A256CBC-HS512","kid":"' || public.sensitive_data_thumbprint(:'key')
    || '","cty":"text/plain;ctx=t.c.1.2"}',
    'the header says which key and which context'
)
FROM bound AS b
WHERE b.context = 't.c.1.2' AND b.text = 'secret';
SELECT is_empty(
    $$
    SELECT 1 FROM bound AS b CROSS JOIN (SELECT DISTINCT context FROM bound) AS other
    WHERE
        other.context <> b.context
        AND tap.opened(b.value, '0123456789abcdef', other.context) <> 'refused'
    $$,
    'a value that is swapped into another row does not open there'
);
SELECT is_empty(
    $$SELECT 1 FROM bound AS b WHERE tap.opened(b.value, '0123456789abcdef') <> 'refused'$$,
    'nor for whoever names no context'
);
SELECT is(
    tap.opened(public.encrypt_sensitive_data('x', :'key'), :'key', c.context), 'refused',
    format('a value that is bound to nothing does not open in %L', c.context)
)
FROM unnest(ARRAY['t.c.1.2', 'none', '']) AS c (context);
SELECT throws_ok(
    format('SELECT public.decrypt_sensitive_data(%L, %L, NULL)', b.value, :'key'), '22000',
    'the value cannot be decrypted', 'a missing context opens nothing'
)
FROM bound AS b
WHERE b.context = 't.c.1.2' AND b.text = 'secret';
SELECT throws_ok(
    format('SELECT public.decrypt_sensitive_data(%L, %L, NULL)', v.value, :'key'), '22000',
    'the value cannot be decrypted', 'not even what is bound to nothing'
)
FROM (SELECT public.encrypt_sensitive_data('x', :'key') AS value) AS v;
SELECT throws_ok(
    format('SELECT public.encrypt_sensitive_data(%L, %L, %L)', d.data, :'key', c.context), '22023',
    'the context is missing or malformed',
    format(
        'nothing (%L) is bound to the context %L', d.data, replace(left(c.context, 10), E'\n', '\n')
    )
)
FROM
    unnest(
        ARRAY[NULL, '', 'none', 'a b', 'a/b', 'a"b', 'a;b', 'ä', E'a\n', repeat('x', 201)]
    ) AS c (context)
CROSS JOIN unnest(ARRAY['x', NULL]) AS d (data);
SELECT ok(
    public.encrypt_sensitive_data(NULL, :'key', 't.c.1.2') IS NULL
    AND public.encrypt_sensitive_data(NULL, :'key', 't.c.1.2', 'k1') IS NULL
    AND public.decrypt_sensitive_data(NULL, :'key', 't.c.1.2') IS NULL
    AND public.decrypt_sensitive_data(NULL, :'key', NULL, NULL) IS NULL,
    'NULL stays NULL'
);
SELECT throws_ok(
    $$SELECT public.encrypt_sensitive_data('x', 'short', 't.c.1.2')$$, '22023',
    'the encryption key has fewer than 16 bytes', 'a short key is refused here as well'
);

-- Key ids
CREATE TEMPORARY TABLE named AS
SELECT
    k.kid,
    public.encrypt_sensitive_data('secret', :'key', 't.c.1.2', k.kid) AS value
FROM unnest(ARRAY['k1', '2026.key_A~b-c', repeat('k', 128)]) AS k (kid);
SELECT is(
    public.decrypt_sensitive_data(n.value, :'key', 't.c.1.2', n.kid), 'secret',
    format('a value opens under the key id %s that it names', left(n.kid, 16))
)
FROM named AS n;
SELECT is(public.sensitive_data_kid(n.value), n.kid, 'and says it without a key') FROM named AS n;
SELECT throws_ok(
    format(
        'SELECT public.decrypt_sensitive_data(%L, %L, %L, %L)', n.value, :'key', 't.c.1.2', k.kid
    ),
    '22000', 'the value cannot be decrypted', format('and not under %L', k.kid)
)
FROM named AS n
CROSS JOIN unnest(ARRAY['k2', '', 'K1', NULL]) AS k (kid)
WHERE n.kid = 'k1';
SELECT throws_ok(
    format('SELECT public.encrypt_sensitive_data(%L, %L, %L, %L)', 'x', :'key', 't.c.1.2', k.kid),
    '22023', 'the key id is missing or malformed',
    format('the key id %L is refused', replace(left(k.kid, 10), E'\n', '\n'))
)
FROM unnest(ARRAY[NULL, '', 'a b', 'a/b', 'a"b', E'a\n', repeat('k', 129)]) AS k (kid);

-- Headers that others write, each under a true tag. They open with the two-argument form.
CREATE TEMPORARY TABLE foreign_header (header text, kid text);
INSERT INTO foreign_header (header, kid) VALUES
('{"enc":"A256CBC-HS512","kid":"k1","alg":"dir"}', 'k1'),
(' { "alg" : "dir" , "enc" : "A256CBC-HS512" , "kid" : "k1" } ', 'k1'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"\u006b1"}', 'k1'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","cty":"text/plain"}', 'k1'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","cty":"text/plain;ctx=none"}', 'k1'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","typ":"JWE","who":"ü"}', 'k1');
SELECT is(
    tap.opened(tap.envelope(f.header, :'key'), :'key'), 'secret', format('%s opens', f.header)
)
FROM foreign_header AS f;
SELECT is(
    public.sensitive_data_kid(tap.envelope(f.header, :'key')), f.kid,
    format('and its key id is %L', f.kid)
)
FROM foreign_header AS f;

-- Headers that nobody may write. The tag is true, so that it is the header that is refused.
CREATE TEMPORARY TABLE bad_header (header text);
INSERT INTO bad_header (header) VALUES
('{"alg":"none","enc":"A256CBC-HS512","kid":"k1"}'),
('{"alg":"A256KW","enc":"A256CBC-HS512","kid":"k1"}'),
('{"alg":["dir"],"enc":"A256CBC-HS512","kid":"k1"}'),
('{"alg":"DIR","enc":"A256CBC-HS512","kid":"k1"}'),
('{"enc":"A256CBC-HS512","kid":"k1"}'),
('{"alg":"dir","kid":"k1"}'),
('{"alg":"dir","enc":"A256CBC-HS512"}'),
('{"alg":"dir","enc":"A256GCM","kid":"k1"}'),
('{"alg":"dir","enc":"A128CBC-HS256","kid":"k1"}'),
('{"alg":"dir","enc":"none","kid":"k1"}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","crit":["exp"],"exp":1}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","crit":null}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","zip":"DEF"}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","kid":"k1"}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","\u006bid":"k2"}'),
('{"alg":"none","alg":"dir","enc":"A256CBC-HS512","kid":"k1"}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","x":"1","x":"2"}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","x":1}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","x":{"y":"z"}}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","x":"' || repeat('x', 4096) || '"}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":""}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"a b"}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":1}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":null}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"' || repeat('k', 129) || '"}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","cty":"ctx=none"}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","cty":"text/plain; ctx=none"}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","cty":"text/plain;ctx="}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","cty":"text/plain;ctx=none;x=y"}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","cty":"text/plain;ctx=none\n"}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","cty":"text/html;ctx=none"}'),
(
    '{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","cty":"text/plain;ctx='
    || repeat('x', 201) || '"}'
),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","cty":["ctx"]}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","cty":1}'),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1","cty":null}'),
('["alg","dir"]'), ('"dir"'), ('1'), ('null'), ('{'), (''),
('{"alg":"dir","enc":"A256CBC-HS512","kid":"k1"} {}'),
(repeat('[', 100000));
SELECT is_empty(
    $$
    SELECT b.header FROM bad_header AS b
    WHERE tap.opened(tap.envelope(b.header, '0123456789abcdef'), '0123456789abcdef') <> 'refused'
    $$,
    'no header opens that breaks a rule, though its tag is true'
);
SELECT is_empty(
    $$
    SELECT b.header FROM bad_header AS b
    CROSS JOIN LATERAL (SELECT tap.envelope(b.header, '0123456789abcdef') AS value) AS e
    WHERE public.sensitive_data_well_formed(e.value) OR public.sensitive_data_kid(e.value) IS NOT NULL
    $$,
    'and each of them is called malformed without a key'
);
SELECT is(
    tap.opened(
        tap.headed(e.value, public.base64url_encode('\x7b22616c67223a22ff227d'), :'key'), :'key'
    ),
    'refused', 'a header that is no UTF-8 is refused'
)
FROM (SELECT tap.envelope('{}', :'key') AS value) AS e;

-- One spelling a value: the same bytes in other characters, the tag true for the header's
CREATE TEMPORARY TABLE other_spelling AS
SELECT
    w.what,
    w.value
FROM (
    VALUES (tap.envelope('{"alg":"dir","enc":"A256CBC-HS512","kid":"k"}', :'key'))
) AS e (value)
CROSS JOIN LATERAL (VALUES (string_to_array(e.value, '.'))) AS p (parts)
CROSS JOIN LATERAL (
    VALUES
    ('as it is', e.value),
    ('a header with padding', tap.headed(e.value, p.parts[1] || '=', :'key')),
    ('a header with a line break', tap.headed(e.value, p.parts[1] || E'\n', :'key')),
    ('a header with a blank', tap.headed(e.value, ' ' || p.parts[1], :'key')),
    (
        'an IV with padding',
        array_to_string(p.parts[1:2] || (p.parts[3] || '==') || p.parts[4:5], '.')
    ),
    (
        'a ciphertext with padding',
        array_to_string(p.parts[1:3] || (p.parts[4] || '==') || p.parts[5], '.')
    ),
    ('a tag with padding', e.value || '='),
    ('a tag with a line break', e.value || E'\n'),
    ('an IV with unused bits', array_to_string(
        p.parts[1:2]
        || (left(p.parts[3], -1) || translate(right(p.parts[3], 1), 'AQgw', 'BRhx'))
        || p.parts[4:5], '.'
    )),
    ('a ciphertext with unused bits', array_to_string(
        p.parts[1:3]
        || (left(p.parts[4], -1) || translate(right(p.parts[4], 1), 'AQgw', 'BRhx'))
        || p.parts[5], '.'
    )),
    ('a tag with unused bits', left(e.value, -1) || translate(
        right(e.value, 1), 'AEIMQUYcgkosw048', 'BFJNRVZdhlptx159'
    ))
) AS w (what, value);
SELECT is(
    tap.opened(s.value, :'key'), CASE s.what WHEN 'as it is' THEN 'secret' ELSE 'refused' END,
    s.what
)
FROM other_spelling AS s;
SELECT results_eq(
    'SELECT what FROM other_spelling WHERE public.sensitive_data_well_formed(value)',
    ARRAY['as it is'], 'and only as it is, it is well formed'
);
CREATE TEMPORARY TABLE plus (n integer, value text);
INSERT INTO plus
SELECT
    n,
    public.encrypt_sensitive_data('secret', :'key') AS value
FROM generate_series(1, 20) AS n;
SELECT is_empty(
    $$
    SELECT 1 FROM plus
    WHERE value ~ '[_-]' AND tap.opened(translate(value, '-_', '+/'), '0123456789abcdef') <> 'refused'
    $$,
    'base64''s + and / are no spelling of - and _'
);

-- Shape, without a key
SELECT ok(
    NOT public.sensitive_data_well_formed(v.value),
    format('%L is not well formed', left(v.value, 20))
)
FROM (
    VALUES
    (NULL), (''), ('....'), ('secret'), ('{"token": "t"}'),
    (encode(public.encrypt('secret', '0123456789abcdef', 'aes'), 'base64'))
) AS v (value);
SELECT ok(
    public.sensitive_data_well_formed(
        public.base64url_encode('{"alg":"dir","enc":"A256GCM","kid":"k1"}') || '..'
        || repeat('A', 16) || '.' || c.ciphertext || '.' || repeat('A', 22)
    ),
    format('A256GCM with the ciphertext %L is well formed', c.ciphertext)
)
FROM unnest(ARRAY['', 'QQ']) AS c (ciphertext);
SELECT is(
    public.sensitive_data_kid(
        public.base64url_encode('{"alg":"dir","enc":"A256GCM","kid":"k1"}') || '..'
        || repeat('A', 16) || '..' || repeat('A', 22)
    ),
    'k1', 'and names its key'
);

-- All bits
CREATE TEMPORARY TABLE sample AS
SELECT
    public.encrypt_sensitive_data(t.text, :'key') AS value,
    NULL AS context
FROM unnest(ARRAY['', 'a text of 16 by.', repeat('x', 100)]) AS t (text)
UNION ALL
SELECT
    public.encrypt_sensitive_data(t.text, :'key', 't.c.1.2') AS value,
    't.c.1.2' AS context
FROM unnest(ARRAY['', 'a text of 15 by', repeat('x', 100)]) AS t (text);
-- The highest bit gives bytes that are no text of this database, and no way to ask.
SELECT is_empty(
    $$
    SELECT s.value, n, b
    FROM sample AS s
    CROSS JOIN LATERAL (SELECT convert_to(s.value, 'UTF8') AS bytes) AS v
    CROSS JOIN LATERAL generate_series(0, octet_length(v.bytes) - 1) AS n
    CROSS JOIN generate_series(0, 6) AS b
    WHERE
        tap.opened(
            convert_from(set_byte(v.bytes, n, get_byte(v.bytes, n) # (1 << b)), 'UTF8'),
            '0123456789abcdef', s.context
        ) <> 'refused'
    $$,
    'no envelope opens with a bit of its text changed'
);
SELECT is_empty(
    $$
    SELECT s.value, part, n
    FROM sample AS s
    CROSS JOIN unnest(ARRAY[1, 3, 4, 5]) AS part
    CROSS JOIN LATERAL (SELECT string_to_array(s.value, '.') AS parts) AS p
    CROSS JOIN LATERAL (SELECT public.base64url_decode(p.parts[part]) AS bytes) AS d
    CROSS JOIN LATERAL generate_series(0, octet_length(d.bytes) * 8 - 1) AS n
    WHERE
        tap.opened(
            array_to_string(
                p.parts[1:part - 1]
                || public.base64url_encode(set_bit(d.bytes, n, 1 - get_bit(d.bytes, n)))
                || p.parts[part + 1:5],
                '.'
            ),
            '0123456789abcdef', s.context
        ) <> 'refused'
    $$,
    'nor with a bit of what it stands for changed'
);
SELECT is_empty(
    $$
    SELECT s.value, n
    FROM sample AS s
    CROSS JOIN LATERAL generate_series(0, length(s.value) - 1) AS n
    WHERE tap.opened(left(s.value, n), '0123456789abcdef', s.context) <> 'refused'
    $$,
    'nor cut short anywhere'
);
SELECT is_empty(
    $$
    SELECT s.value, n, x
    FROM sample AS s
    CROSS JOIN LATERAL generate_series(0, length(s.value)) AS n
    CROSS JOIN unnest(ARRAY['A', '.', ' ']) AS x
    WHERE
        tap.opened(
            overlay(s.value PLACING x FROM n + 1 FOR 0), '0123456789abcdef', s.context
        ) <> 'refused'
    $$,
    'nor with a character more anywhere'
);
SELECT isnt_empty(
    $$SELECT 1 FROM sample AS s
    HAVING bool_and(tap.opened(s.value, '0123456789abcdef', s.context) <> 'refused')$$,
    'and each opens as it is'
);

SELECT finish();
ROLLBACK;
