-- Opens what the schema document's own function encrypted, so that it can be encrypted anew.
-- depends: 0001_default_privileges
--
-- Its formula to the letter, and for whoever converts old rows alone: nothing in the old format is
-- authenticated, so a changed value or a wrong key may give another text and no error.

CREATE FUNCTION public.decrypt_legacy_sensitive_data(
    encrypted_data text,
    key text
) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_text text;
BEGIN
    IF encrypted_data IS NULL THEN
        RETURN NULL;
    END IF;
    BEGIN
        v_text := convert_from(
            public.decrypt(decode(encrypted_data, 'base64'), key::bytea, 'aes'), 'UTF8'
        );
    EXCEPTION
        WHEN OTHERS THEN
            NULL;
    END;
    IF v_text IS NULL THEN
        RAISE EXCEPTION 'the value cannot be decrypted'
            USING
                ERRCODE = 'data_exception',
                HINT = 'The key or the value is not the one it was encrypted with.';
    END IF;
    RETURN v_text;
END;
$$;

GRANT EXECUTE ON FUNCTION public.decrypt_legacy_sensitive_data(text, text) TO portal_maintenance;

COMMENT ON FUNCTION public.decrypt_legacy_sensitive_data(text, text) IS
'Decrypts the schema document''s old format, which is not authenticated; for converting it, and nothing else.';
