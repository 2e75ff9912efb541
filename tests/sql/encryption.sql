-- Encryption is what RFC 7516 and 7518 say, opens only with its key, and fails in one way alone.
\ir begin.psql
SELECT plan(58);

-- RFC 7518, appendix B.3: A256CBC-HS512
CREATE TEMPORARY TABLE rfc AS
SELECT
    decode('202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f', 'hex') AS enc_key,
    decode('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'hex') AS mac_key,
    decode('1af38c2dc2b96ffdd86694092341bc04', 'hex') AS iv,
    convert_to('The second principle of Auguste Kerckhoffs', 'UTF8') AS aad,
    convert_to(
        'A cipher system must not be required to be secret, and it must be able '
        'to fall into the hands of the enemy without inconvenience',
        'UTF8'
    ) AS plaintext,
    decode(
        '4affaaadb78c31c5da4b1b590d10ffbd3dd8d5d302423526912da037ecbcc7bd'
        '822c301dd67c373bccb584ad3e9279c2e6d12a1374b77f077553df829410446b'
        '36ebd97066296ae6427ea75c2e0846a11a09ccf5370dc80bfecbad28c73f09b3'
        'a3b75e662a2594410ae496b2e2e6609e31e6e02cc837f053d21f37ff4f51950b'
        'be2638d09dd7a4930930806d0703b1f6',
        'hex'
    ) AS ciphertext,
    decode('4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5', 'hex') AS tag;
SELECT is(
    encrypt_iv(r.plaintext, r.enc_key, r.iv, 'aes-cbc/pad:pkcs'), r.ciphertext,
    'the cipher gives the ciphertext of RFC 7518, B.3'
)
FROM rfc AS r;
SELECT is(
    public.a256cbc_hs512_tag(r.aad, r.iv, r.ciphertext, r.mac_key), r.tag,
    'and the tag of RFC 7518, B.3'
)
FROM rfc AS r;

-- Base64url, RFC 4648
SELECT is(public.base64url_encode('\xfbff'), '-_8', 'base64url has - and _ and no padding');
SELECT is(public.base64url_decode('-_8'), '\xfbff'::bytea, 'and decodes');
SELECT is(
    public.base64url_encode(convert_to(repeat('x', 100), 'UTF8')) ~ '\s', false,
    'base64url has no line breaks'
);
SELECT ok(
    public.base64url_decode(t) IS NULL, format('base64url %L is refused', replace(t, E'\n', '\n'))
)
FROM unnest(ARRAY['-_9', '-_8=', '+/8', 'A', 'A A', E'-_8\n']) AS t;

-- Keys
SELECT is(
    public.sensitive_data_key(
        'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0-Pw'
    ),
    decode(
        '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f'
        '202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f', 'hex'
    ),
    'base64url of 64 bytes is the key itself, a JWK''s k'
);
SELECT is(
    octet_length(public.sensitive_data_key(repeat('k', 16))), 64, 'another text gives 64 bytes'
);
SELECT isnt(
    public.sensitive_data_key(repeat('k', 16)), public.sensitive_data_key(repeat('k', 17)),
    'another text, another key'
);
SELECT throws_ok(
    format('SELECT public.encrypt_sensitive_data(%L, %L)', 'x', k), '22023',
    'the encryption key has fewer than 16 bytes', format('the key %L is refused', k)
)
FROM unnest(ARRAY['', 'short', repeat('k', 15), NULL]) AS k;
CREATE FUNCTION tap.hint_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_hint text;
BEGIN
    EXECUTE query;
    RETURN NULL;
EXCEPTION
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS v_hint = PG_EXCEPTION_HINT;
        RETURN v_hint;
END;
$$;
SELECT is(
    tap.hint_of($$SELECT public.encrypt_sensitive_data('x', 'short')$$),
    'A good key: portaldb keys generate, or '
    'openssl rand -base64 64 | tr ''+/'' ''-_'' | tr -d ''=\n''',
    'and the hint has the commands that make a good one'
);
SELECT lives_ok(
    $$SELECT public.encrypt_sensitive_data('x', 'ключключ')$$,
    'sixteen bytes are counted, not characters'
);

-- Values made elsewhere: Python's cryptography
SELECT is(
    public.decrypt_sensitive_data(
        'eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoiazEifQ..AAECAwQFBgcICQoLDA0ODw'
        '.ao857KfUym_PzVN-jExaOicDXmv0DPv9wVop1hiyWx8.Y4bvPJKy9rIH86y7TRVj9QZa3azDITUiBdZU-ikYsFI',
        'correct horse battery staple'
    ),
    '{"token": "s3crét"}',
    'a value made in Python under a passphrase opens'
);
SELECT is(
    public.decrypt_sensitive_data(
        'eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoiazEifQ..AAECAwQFBgcICQoLDA0ODw'
        '.c5Y7rR0rFGsno0FqjTRqVw.__maRqfolAtPqGOaHE7HeoNZ86CDbJSe3PqdVAdD2rU',
        'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0-Pw'
    ),
    'raw',
    'a value made in Python under a raw key opens'
);

-- There and back
SELECT is(
    public.decrypt_sensitive_data(public.encrypt_sensitive_data(t, k), k), t,
    format('%s bytes under %s bytes of key', octet_length(t), octet_length(k))
)
FROM unnest(ARRAY['', 'x', repeat('y', 16), repeat('ü', 4096)]) AS t
CROSS JOIN unnest(ARRAY[repeat('k', 16), repeat('A', 86), repeat('k', 300)]) AS k;
SELECT ok(
    public.encrypt_sensitive_data(NULL, repeat('k', 16)) IS NULL
    AND public.decrypt_sensitive_data(NULL, repeat('k', 16)) IS NULL,
    'NULL stays NULL'
);

CREATE TEMPORARY TABLE sample AS
SELECT
    e.value,
    string_to_array(e.value, '.') AS parts
FROM (SELECT public.encrypt_sensitive_data('secret', repeat('k', 16)) AS value) AS e;

SELECT isnt(
    public.encrypt_sensitive_data('secret', repeat('k', 16)), s.value,
    'the same text encrypts differently'
)
FROM sample AS s;
SELECT matches(
    convert_from(public.base64url_decode(s.parts[1]), 'UTF8'),
    '^\{"alg":"dir","enc":"A256CBC-HS512","kid":"[A-Za-z0-9_-]{43}","cty":"text/plain;ctx=none"\}$',
    'the header names algorithm and key, and says that the value is bound to nothing'
)
FROM sample AS s;

-- Whatever is wrong, the answer is the same
CREATE TEMPORARY TABLE wrong (what text, value text, key text);
INSERT INTO wrong (what, value, key)
SELECT
    w.what,
    w.value,
    w.key
FROM sample AS s
CROSS JOIN
    LATERAL (
        VALUES
        ('another key', s.value, repeat('K', 16)),
        ('a key that is too short', s.value, 'short'),
        ('no key', s.value, NULL),
        ('a value cut short', left(s.value, -1), repeat('k', 16)),
        ('a value with more behind', s.value || 'A', repeat('k', 16)),
        ('a sixth part', s.value || '.', repeat('k', 16)),
        ('an encrypted key where dir has none', replace(s.value, '..', '.AA.'), repeat('k', 16)),
        (
            'an IV of another value',
            array_to_string(s.parts[1:2] || repeat('A', 22) || s.parts[4:5], '.'),
            repeat('k', 16)
        ),
        (
            'a tag of another value',
            array_to_string(s.parts[1:4] || repeat('A', 43), '.'),
            repeat('k', 16)
        ),
        (
            'a value bound to a row',
            'eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwiY3R5IjoidGV4dC9wbGFpbjtjdHg9'
            'dC5jLzEvMiJ9..AAAAAAAAAAAAAAAAAAAAAA.Y5PeijQH_-siIMsZ54OiPQ'
            '.0miLtbV2_ToK4-RVadiChrbrT2npwsZvoZO1JVTqdqo',
            'correct horse battery'
        ),
        ('no text', '', repeat('k', 16)),
        ('plain text', 'secret', repeat('k', 16)),
        (
            'the spec''s old format',
            encode(encrypt('secret', repeat('k', 16)::bytea, 'aes'), 'base64'),
            repeat('k', 16)
        )
    ) AS w (what, value, key);
SELECT throws_ok(
    format('SELECT public.decrypt_sensitive_data(%L, %L)', w.value, w.key), '22000',
    'the value cannot be decrypted', w.what || ' is refused as every other'
)
FROM wrong AS w;

-- One expression: the planner puts it in the place of the call, and derives the key once
CREATE FUNCTION tap.plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query;
END;
$$;
SELECT is(
    array(
        SELECT DISTINCT f.name[1]
        FROM tap.plan_of(
            format(
                'SELECT public.encrypt_sensitive_data(n::text, %L) FROM generate_series(1, 9) AS n',
                repeat('k', 16)
            )
        ) AS line
        CROSS JOIN
            regexp_matches(line, '(\w*(?:sensitive|encrypt|base64url|sha256)\w*)\(', 'g')
                AS f (name)
        ORDER BY 1
    ),
    ARRAY['encrypt', 'sensitive_data_sealed'],
    'for each row no more is called than what needs the row'
);
SELECT is(
    array(
        SELECT line
        FROM tap.plan_of(
            format('SELECT public.decrypt_sensitive_data(%L, %L)', s.value, repeat('k', 16))
        ) AS line
        WHERE line ~ '''secret'''
    ),
    '{}', 'no plan holds a text that was decrypted while planning'
)
FROM sample AS s;

-- The IV is the first block of the ciphertext of a random block
SELECT is(
    public.sensitive_data_sealed('e30', r.iv || r.ciphertext, r.mac_key),
    'e30..' || public.base64url_encode(r.iv) || '.' || public.base64url_encode(r.ciphertext) || '.'
    || public.base64url_encode(
        public.a256cbc_hs512_tag(convert_to('e30', 'UTF8'), r.iv, r.ciphertext, r.mac_key)
    ),
    'a value is sealed with the tag that RFC 7518 makes'
)
FROM rfc AS r;
SELECT is(
    (
        SELECT
            count(
                DISTINCT split_part(
                    public.encrypt_sensitive_data('secret', repeat('k', 16)), '.', 3
                )
            )
        FROM generate_series(1, 100000)
    ),
    100000::bigint, 'of 100,000 values no two have the same IV'
);
SELECT throws_ok(
    format('SELECT public.encrypt_sensitive_data(%L, %L) FROM generate_series(1, 2)', 'x', 'short'),
    '22023', 'the encryption key has fewer than 16 bytes',
    'a short key is refused while the statement is planned'
);

-- As the roles that may and may not
SET LOCAL ROLE portal_app;
SELECT is(
    public.decrypt_sensitive_data(
        public.encrypt_sensitive_data('x', repeat('k', 16)), repeat('k', 16)
    ),
    'x', 'a service encrypts and decrypts'
);
SET LOCAL ROLE portal_runner;
SELECT is(
    public.decrypt_sensitive_data(
        public.encrypt_sensitive_data('x', repeat('k', 16)), repeat('k', 16)
    ),
    'x', 'the runner encrypts and decrypts'
);
SET LOCAL ROLE portal_monitor;
SELECT throws_ok(
    $$SELECT public.encrypt_sensitive_data('x', repeat('k', 16))$$, '42501', NULL,
    'the monitor does not'
);

SELECT finish();
ROLLBACK;
