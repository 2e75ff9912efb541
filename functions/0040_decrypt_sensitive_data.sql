-- Decrypting only what is bound to the row at hand, or with two arguments what is bound to none.
-- depends: 0024_sensitive_data 0038_sensitive_data_header 0039_encrypt_sensitive_data
--
-- STABLE and not IMMUTABLE, so that the plan of a statement never holds the text. A key that is too
-- short comes as NULL and fails as any other.

CREATE FUNCTION public.sensitive_data_opened(
    encrypted_data text,
    key bytea,
    context text,
    kid text
) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_header     record;
    v_parts      text[];
    v_mac_key    bytea := substring(key FROM 1 FOR 32);
    v_iv         bytea;
    v_ciphertext bytea;
    v_tag        bytea;
BEGIN
    IF encrypted_data IS NULL THEN
        RETURN NULL;
    END IF;

    -- Every way to fail ends at the one RAISE below: no answer tells a bad key from a bad text.
    BEGIN
        v_header := public.sensitive_data_header(encrypted_data);
        IF v_header.enc = 'A256CBC-HS512'
            AND v_header.context = context
            AND (kid IS NULL OR v_header.kid = kid)
        THEN
            v_parts := string_to_array(replace(replace(encrypted_data, '-', '+'), '_', '/'), '.');
            -- 16 and 32 bytes, as the header's reader has seen.
            v_iv := decode(v_parts[3] || '==', 'base64');
            v_tag := decode(v_parts[5] || '=', 'base64');
            v_ciphertext := decode(
                v_parts[4] || repeat('=', -length(v_parts[4]) & 3), 'base64'
            );

            -- Two HMACs are compared and not the tags themselves: = on bytea stops at the first
            -- byte that differs, and its time would tell.
            IF public.hmac(v_tag, v_mac_key, 'sha512') = public.hmac(
                public.a256cbc_hs512_tag(
                    convert_to(split_part(encrypted_data, '.', 1), 'UTF8'),
                    v_iv,
                    v_ciphertext,
                    v_mac_key
                ),
                v_mac_key, 'sha512'
            )
            THEN
                RETURN convert_from(
                    public.decrypt_iv(
                        v_ciphertext, substring(key FROM 33 FOR 32), v_iv, 'aes-cbc/pad:pkcs'
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

CREATE OR REPLACE FUNCTION public.decrypt_sensitive_data(
    encrypted_data text,
    key text
) RETURNS text
LANGUAGE sql STABLE
RETURN public.sensitive_data_opened(
    encrypted_data, public.sensitive_data_derived_key(key), 'none', NULL
);

-- No value is bound to '', so what is missing opens nothing, and 'none' not what is bound to none.
CREATE FUNCTION public.decrypt_sensitive_data(
    encrypted_data text,
    key text,
    context text
) RETURNS text
LANGUAGE sql STABLE
RETURN public.sensitive_data_opened(
    encrypted_data,
    public.sensitive_data_derived_key(key),
    coalesce(nullif(context, 'none'), ''),
    NULL
);

CREATE FUNCTION public.decrypt_sensitive_data(
    encrypted_data text,
    key text,
    context text,
    kid text
) RETURNS text
LANGUAGE sql STABLE
RETURN public.sensitive_data_opened(
    encrypted_data,
    public.sensitive_data_derived_key(key),
    coalesce(nullif(context, 'none'), ''),
    coalesce(kid, '')
);

GRANT EXECUTE ON FUNCTION public.sensitive_data_opened(text, bytea, text, text)
TO portal_app, portal_runner;
GRANT EXECUTE ON FUNCTION public.decrypt_sensitive_data(text, text, text)
TO portal_app, portal_runner;
GRANT EXECUTE ON FUNCTION public.decrypt_sensitive_data(text, text, text, text)
TO portal_app, portal_runner;

COMMENT ON FUNCTION public.sensitive_data_opened(text, bytea, text, text) IS
'What a value holds that is bound to this context, ''none'' for none, and made by the key of this id, NULL for any.';
COMMENT ON FUNCTION public.decrypt_sensitive_data(text, text, text) IS
'Decrypts a value that is bound to exactly this context; one error, 22000, for whatever may be wrong.';
COMMENT ON FUNCTION public.decrypt_sensitive_data(text, text, text, text) IS
'Decrypts a value that is bound to this context and names this key id; one error, 22000, for whatever may be wrong.';
