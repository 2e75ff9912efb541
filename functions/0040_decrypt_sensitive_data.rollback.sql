-- Brings back decrypting as it was, in two arguments.

DROP FUNCTION public.decrypt_sensitive_data(text, text, text, text);
DROP FUNCTION public.decrypt_sensitive_data(text, text, text);

CREATE OR REPLACE FUNCTION public.decrypt_sensitive_data(
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

DROP FUNCTION public.sensitive_data_opened(text, bytea, text, text);
