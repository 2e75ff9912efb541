-- Brings back encrypting as it was: in two arguments, and a third as fast.

DROP FUNCTION public.encrypt_sensitive_data(text, text, text, text);
DROP FUNCTION public.encrypt_sensitive_data(text, text, text);

CREATE OR REPLACE FUNCTION public.encrypt_sensitive_data(
    data text,
    key text
) RETURNS text
LANGUAGE plpgsql PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_key        bytea := public.sensitive_data_key(key);
    v_mac_key    bytea := substring(v_key FROM 1 FOR 32);
    v_iv         bytea := public.gen_random_bytes(16);
    v_kid        text;
    v_header     text;
    v_ciphertext bytea;
BEGIN
    IF data IS NULL THEN
        RETURN NULL;
    END IF;
    v_kid := public.base64url_encode(
        sha256(convert_to(format('{"k":"%s","kty":"oct"}', public.base64url_encode(v_key)), 'UTF8'))
    );
    v_header := public.base64url_encode(
        convert_to(
            format(
                '{"alg":"dir","enc":"A256CBC-HS512","kid":"%s","cty":"text/plain;ctx=none"}', v_kid
            ),
            'UTF8'
        )
    );
    v_ciphertext := public.encrypt_iv(
        convert_to(data, 'UTF8'), substring(v_key FROM 33 FOR 32), v_iv, 'aes-cbc/pad:pkcs'
    );
    -- With dir there is no encrypted key: its place between the dots is empty.
    RETURN format(
        '%s..%s.%s.%s',
        v_header,
        public.base64url_encode(v_iv),
        public.base64url_encode(v_ciphertext),
        public.base64url_encode(
            public.a256cbc_hs512_tag(convert_to(v_header, 'UTF8'), v_iv, v_ciphertext, v_mac_key)
        )
    );
END;
$$;

DROP FUNCTION public.sensitive_data_sealed(text, bytea, bytea);
DROP FUNCTION public.sensitive_data_protected(text, text);
DROP FUNCTION public.sensitive_data_thumbprint(text);

CREATE OR REPLACE FUNCTION public.sensitive_data_key(key text) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_text bytea := convert_to(key, 'UTF8');
BEGIN
    IF v_text IS NULL OR octet_length(v_text) < 16 THEN
        RAISE EXCEPTION 'the encryption key has fewer than 16 bytes'
            USING
                ERRCODE = 'invalid_parameter_value',
                HINT = 'A good key: openssl rand -base64 64 | tr ''+/'' ''-_'' | tr -d ''=\n''';
    END IF;
    IF octet_length(public.base64url_decode(key)) = 64 THEN
        RETURN public.base64url_decode(key);
    END IF;
    -- HKDF-SHA-512 (RFC 5869) without a salt, for exactly one block of output.
    RETURN public.hmac(
        '\x6d63705f706f7274616c20413235364342432d485335313201'::bytea, -- 'mcp_portal A256CBC-HS512', 1
        public.hmac(v_text, ''::bytea, 'sha512'),
        'sha512'
    );
END;
$$;

DROP FUNCTION public.sensitive_data_derived_key(text);

COMMENT ON FUNCTION public.encrypt_sensitive_data(text, text) IS
'Encrypts data as a compact JWE, dir with A256CBC-HS512; NULL for NULL, 22023 for a key under 16 bytes.';
