-- Encrypting at a quarter of raw speed, and bound to a row: with a context, and with a key id.
-- depends: 0024_sensitive_data 0037_base64url_encode_by_replace 0038_sensitive_data_header
--
-- The bodies are single expressions, so that the planner puts them into the statement in the place
-- of the call: what depends on the key alone is IMMUTABLE, and of a constant key derived once.
--
-- IV and ciphertext come of one call. pgcrypto's encrypt starts CBC with an IV of zeros, and CBC of
-- 16 random bytes R and then the text is E(R), and then CBC of the text with E(R) as its IV. E(R)
-- stands in the value as the IV: E is a permutation, so it is as random as R, and whoever has not
-- the key cannot foretell it (NIST SP 800-38A, appendix C, asks for just that). R itself is in no
-- value. Any other reader takes E(R) for the IV that it is.

CREATE FUNCTION public.sensitive_data_derived_key(key text) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_text  bytea := convert_to(key, 'UTF8');
    v_bytes bytea := public.base64url_decode(key);
BEGIN
    IF octet_length(v_text) >= 16 IS NOT TRUE THEN
        RETURN NULL;
    END IF;
    IF octet_length(v_bytes) = 64 THEN
        RETURN v_bytes;
    END IF;
    -- HKDF-SHA-512 (RFC 5869) without a salt, for exactly one block of output.
    RETURN public.hmac(
        '\x6d63705f706f7274616c20413235364342432d485335313201'::bytea, -- 'mcp_portal A256CBC-HS512', 1
        public.hmac(v_text, ''::bytea, 'sha512'),
        'sha512'
    );
END;
$$;

CREATE OR REPLACE FUNCTION public.sensitive_data_key(key text) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_key bytea := public.sensitive_data_derived_key(key);
BEGIN
    IF v_key IS NULL THEN
        RAISE EXCEPTION 'the encryption key has fewer than 16 bytes'
            USING
                ERRCODE = 'invalid_parameter_value',
                HINT = 'A good key: portaldb keys generate, or '
                    'openssl rand -base64 64 | tr ''+/'' ''-_'' | tr -d ''=\n''';
    END IF;
    RETURN v_key;
END;
$$;

CREATE FUNCTION public.sensitive_data_thumbprint(key text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Not a single expression: put into the statement, it would double what planning costs.
    RETURN public.base64url_encode(
        sha256(
            convert_to(
                '{"k":"' || public.base64url_encode(public.sensitive_data_key(key)) || '","kty":"oct"}',
                'UTF8'
            )
        )
    );
END;
$$;

CREATE FUNCTION public.sensitive_data_protected(kid text, context text) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF kid IS NULL OR kid ~ '[^A-Za-z0-9._~-]' OR length(kid) NOT BETWEEN 1 AND 128 THEN
        RAISE EXCEPTION 'the key id is missing or malformed'
            USING
                ERRCODE = 'invalid_parameter_value',
                HINT = 'It is 1 to 128 of A to Z, a to z, 0 to 9 and . _ ~ -';
    END IF;
    IF context IS NULL OR context ~ '[^A-Za-z0-9_.-]' OR length(context) NOT BETWEEN 1 AND 200 THEN
        RAISE EXCEPTION 'the context is missing or malformed'
            USING
                ERRCODE = 'invalid_parameter_value',
                HINT = 'sensitive_data_context() makes one of table, column, user and server.';
    END IF;
    RETURN public.base64url_encode(
        convert_to(
            '{"alg":"dir","enc":"A256CBC-HS512","kid":"' || kid
            || '","cty":"text/plain;ctx=' || context || '"}',
            'UTF8'
        )
    );
END;
$$;

-- It runs for every value, so it pins no search path, which would cost a fifth more: every name in
-- it is qualified, operators too. In SQL it would cost half as much again, for it needs a random
-- value three times, and such a body the planner does not put into the statement.
CREATE FUNCTION public.sensitive_data_sealed(
    protected text,
    iv_and_ciphertext bytea,
    mac_key bytea
) RETURNS text
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
AS $$
BEGIN
    -- With dir there is no encrypted key: its place between the dots is empty.
    RETURN protected OPERATOR(pg_catalog.||) '..' OPERATOR(pg_catalog.||) pg_catalog.replace(
        pg_catalog.replace(
            pg_catalog.replace(
                pg_catalog.replace(
                    pg_catalog.encode(pg_catalog.substr(iv_and_ciphertext, 1, 16), 'base64')
                    OPERATOR(pg_catalog.||) '.'
                    OPERATOR(pg_catalog.||) pg_catalog.encode(pg_catalog.substr(iv_and_ciphertext, 17), 'base64')
                    OPERATOR(pg_catalog.||) '.'
                    OPERATOR(pg_catalog.||) pg_catalog.encode(
                        pg_catalog.substr(
                            public.hmac(
                                pg_catalog.convert_to(protected, 'UTF8')
                                OPERATOR(pg_catalog.||) iv_and_ciphertext
                                OPERATOR(pg_catalog.||) pg_catalog.int8send(
                                    pg_catalog.octet_length(protected) OPERATOR(pg_catalog.*) 8
                                ),
                                mac_key,
                                'sha512'
                            ),
                            1, 32
                        ),
                        'base64'
                    ),
                    E'\n', ''
                ),
                '=', ''
            ),
            '+', '-'
        ),
        '/', '_'
    );
END;
$$;

CREATE OR REPLACE FUNCTION public.encrypt_sensitive_data(
    data text,
    key text
) RETURNS text
LANGUAGE sql PARALLEL SAFE
RETURN public.sensitive_data_sealed(
    public.sensitive_data_protected(public.sensitive_data_thumbprint(key), 'none'),
    public.encrypt(
        public.gen_random_bytes(16) || convert_to(data, 'UTF8'),
        substring(public.sensitive_data_key(key) FROM 33 FOR 32),
        'aes-cbc/pad:pkcs'
    ),
    substring(public.sensitive_data_key(key) FROM 1 FOR 32)
);

-- 'none' stands for a value that is bound to nothing, and nobody gets one by naming a context.
CREATE FUNCTION public.encrypt_sensitive_data(
    data text,
    key text,
    context text
) RETURNS text
LANGUAGE sql PARALLEL SAFE
RETURN public.sensitive_data_sealed(
    public.sensitive_data_protected(public.sensitive_data_thumbprint(key), nullif(context, 'none')),
    public.encrypt(
        public.gen_random_bytes(16) || convert_to(data, 'UTF8'),
        substring(public.sensitive_data_key(key) FROM 33 FOR 32),
        'aes-cbc/pad:pkcs'
    ),
    substring(public.sensitive_data_key(key) FROM 1 FOR 32)
);

CREATE FUNCTION public.encrypt_sensitive_data(
    data text,
    key text,
    context text,
    kid text
) RETURNS text
LANGUAGE sql PARALLEL SAFE
RETURN public.sensitive_data_sealed(
    public.sensitive_data_protected(kid, nullif(context, 'none')),
    public.encrypt(
        public.gen_random_bytes(16) || convert_to(data, 'UTF8'),
        substring(public.sensitive_data_key(key) FROM 33 FOR 32),
        'aes-cbc/pad:pkcs'
    ),
    substring(public.sensitive_data_key(key) FROM 1 FOR 32)
);

GRANT EXECUTE ON FUNCTION public.sensitive_data_derived_key(text) TO portal_app, portal_runner;
GRANT EXECUTE ON FUNCTION public.sensitive_data_thumbprint(text) TO portal_app, portal_runner;
GRANT EXECUTE ON FUNCTION public.sensitive_data_protected(text, text) TO portal_app, portal_runner;
GRANT EXECUTE ON FUNCTION public.sensitive_data_sealed(text, bytea, bytea)
TO portal_app, portal_runner;
GRANT EXECUTE ON FUNCTION public.encrypt_sensitive_data(text, text, text)
TO portal_app, portal_runner;
GRANT EXECUTE ON FUNCTION public.encrypt_sensitive_data(text, text, text, text)
TO portal_app, portal_runner;

COMMENT ON FUNCTION public.sensitive_data_derived_key(text) IS
'The 64 bytes that a key text stands for, as sensitive_data_key(), and NULL where that refuses it.';
COMMENT ON FUNCTION public.sensitive_data_thumbprint(text) IS
'The key id that a key has unless it is given another: its thumbprint (RFC 7638).';
COMMENT ON FUNCTION public.sensitive_data_protected(text, text) IS
'The protected header of an encrypted value, base64url; 22023 for a malformed key id or context.';
COMMENT ON FUNCTION public.sensitive_data_sealed(text, bytea, bytea) IS
'Header, IV and ciphertext with their tag, as a compact JWE.';
COMMENT ON FUNCTION public.encrypt_sensitive_data(text, text) IS
'Encrypts data as a compact JWE, dir with A256CBC-HS512, bound to no row; NULL for NULL, 22023 for a key under 16 bytes.';
COMMENT ON FUNCTION public.encrypt_sensitive_data(text, text, text) IS
'Encrypts data bound to a context, which sensitive_data_context() makes; without that context it does not open.';
COMMENT ON FUNCTION public.encrypt_sensitive_data(text, text, text, text) IS
'Encrypts data bound to a context, and names the key by the id that it has in the key set.';
