-- The spec's two encryption functions, authenticated and random: compact JWE, A256CBC-HS512.
-- depends: 0023_base64url
--
-- RFC 7516 gives the form, RFC 7518 section 5.2 the algorithm: AES-256-CBC with a random IV, then
-- HMAC-SHA-512 cut to 32 bytes over header, IV, ciphertext and the header's length in bits. Every
-- JOSE library reads it. The header names the key by its thumbprint (RFC 7638) and says ctx=none:
-- the value is bound to no row. That stands in cty, which RFC 7516 registers: some libraries refuse
-- a header with a member they do not know. Callers bring their own key, so nothing here needs
-- SECURITY DEFINER.

CREATE FUNCTION public.sensitive_data_key(key text) RETURNS bytea
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

CREATE FUNCTION public.a256cbc_hs512_tag(
    aad bytea,
    iv bytea,
    ciphertext bytea,
    mac_key bytea
) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN substring(
    public.hmac(
        aad || iv || ciphertext || int8send(octet_length(aad) * 8::bigint), mac_key, 'sha512'
    )
    FROM 1 FOR 32
);

CREATE FUNCTION public.encrypt_sensitive_data(
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

CREATE FUNCTION public.decrypt_sensitive_data(
    encrypted_data text,
    key text
) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_parts      text[] := string_to_array(encrypted_data, '.');
    v_key        bytea;
    v_mac_key    bytea;
    v_iv         bytea;
    v_ciphertext bytea;
    v_tag        bytea;
    v_header     jsonb;
BEGIN
    IF encrypted_data IS NULL THEN
        RETURN NULL;
    END IF;

    -- Every way to fail ends at the one RAISE below: no answer tells a bad key from a bad text.
    BEGIN
        v_key := public.sensitive_data_key(key);
        v_mac_key := substring(v_key FROM 1 FOR 32);
        v_iv := public.base64url_decode(v_parts[3]);
        v_ciphertext := public.base64url_decode(v_parts[4]);
        v_tag := public.base64url_decode(v_parts[5]);

        -- The tag before anything else is looked at. Two HMACs are compared and not the tags
        -- themselves: = on bytea stops at the first byte that differs, and its time would tell.
        IF cardinality(v_parts) = 5
            AND v_parts[2] = ''
            AND octet_length(v_iv) = 16
            AND octet_length(v_tag) = 32
            AND public.hmac(v_tag, v_mac_key, 'sha512') = public.hmac(
                public.a256cbc_hs512_tag(convert_to(v_parts[1], 'UTF8'), v_iv, v_ciphertext, v_mac_key),
                v_mac_key, 'sha512'
            )
        THEN
            v_header := convert_from(public.base64url_decode(v_parts[1]), 'UTF8')::jsonb;
            IF v_header ->> 'alg' = 'dir'
                AND v_header ->> 'enc' = 'A256CBC-HS512'
                AND coalesce(substring(v_header ->> 'cty' FROM 'ctx=([^;]*)'), 'none') = 'none'
                AND NOT v_header ?| ARRAY['crit', 'zip']
            THEN
                RETURN convert_from(
                    public.decrypt_iv(
                        v_ciphertext, substring(v_key FROM 33 FOR 32), v_iv, 'aes-cbc/pad:pkcs'
                    ),
                    'UTF8'
                );
            END IF;
        END IF;
    EXCEPTION
        WHEN OTHERS THEN
            NULL;
    END;

    RAISE EXCEPTION 'the value cannot be decrypted'
        USING
            ERRCODE = 'data_exception',
            HINT = 'The key, the value or what it is bound to is not the one it was encrypted with.';
END;
$$;

GRANT EXECUTE ON FUNCTION public.sensitive_data_key(text) TO portal_app, portal_runner;
GRANT EXECUTE ON FUNCTION public.a256cbc_hs512_tag(bytea, bytea, bytea, bytea)
TO portal_app, portal_runner;
GRANT EXECUTE ON FUNCTION public.encrypt_sensitive_data(text, text) TO portal_app, portal_runner;
GRANT EXECUTE ON FUNCTION public.decrypt_sensitive_data(text, text) TO portal_app, portal_runner;

COMMENT ON FUNCTION public.sensitive_data_key(text) IS
'The 64 bytes a key text stands for: base64url of 64 bytes as it is, any other text of 16 bytes or more '
'through HKDF-SHA-512 (no salt, info ''mcp_portal A256CBC-HS512''); less is refused with 22023.';
COMMENT ON FUNCTION public.a256cbc_hs512_tag(bytea, bytea, bytea, bytea) IS
'Authentication tag of A256CBC-HS512 (RFC 7518, section 5.2.2.1).';
COMMENT ON FUNCTION public.encrypt_sensitive_data(text, text) IS
'Encrypts data as a compact JWE, dir with A256CBC-HS512; NULL for NULL, 22023 for a key under 16 bytes.';
COMMENT ON FUNCTION public.decrypt_sensitive_data(text, text) IS
'Decrypts what encrypt_sensitive_data made; one error, 22000, for whatever may be wrong with key or value.';
