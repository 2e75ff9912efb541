-- Keeps plain text, the old format and other rows' values out of encrypted_config.
-- depends: 0008_user_server_configs 0038_sensitive_data_header
--
-- It looks at what is written and not at what is there: the state of a row that holds an old value
-- still changes. Nothing of the value is in the error, which a CHECK would show as the failing row.

CREATE FUNCTION public.require_encrypted_config() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_header record;
BEGIN
    IF NEW.encrypted_config IS NULL THEN
        RETURN NEW;
    END IF;
    IF octet_length(NEW.encrypted_config) > 262144 THEN
        RAISE EXCEPTION 'encrypted_config is too long'
            USING
                ERRCODE = 'check_violation',
                CONSTRAINT = TG_NAME,
                HINT = 'It has at most 262144 bytes, which is about 190 kB before it is encrypted.';
    END IF;
    v_header := public.sensitive_data_header(NEW.encrypted_config);
    IF v_header.kid IS NULL THEN
        RAISE EXCEPTION 'encrypted_config is not an encrypted value'
            USING
                ERRCODE = 'check_violation',
                CONSTRAINT = TG_NAME,
                HINT = 'encrypt_sensitive_data(data, key, context) makes one, and portaldb.encryption.encrypt().';
    END IF;
    IF v_header.context NOT IN (
        'none',
        public.sensitive_data_context(
            TG_TABLE_NAME, 'encrypted_config', NEW.user_id, NEW.server_id
        )
    ) THEN
        RAISE EXCEPTION 'encrypted_config is bound to another row'
            USING
                ERRCODE = 'check_violation',
                CONSTRAINT = TG_NAME,
                HINT = 'A value opens in its own row alone: encrypt it for this user and this server.';
    END IF;
    RETURN NEW;
END;
$$;

CREATE TRIGGER require_encrypted_config
    BEFORE INSERT OR UPDATE OF encrypted_config ON public.user_server_configs
    FOR EACH ROW EXECUTE FUNCTION public.require_encrypted_config();

COMMENT ON FUNCTION public.require_encrypted_config() IS
'Refuses an encrypted_config that is no well-formed value, is bound to another row or over 256 kB, with 23514.';
COMMENT ON TRIGGER require_encrypted_config ON public.user_server_configs IS
'Plain text, the old format and other rows'' values stay out of encrypted_config.';
