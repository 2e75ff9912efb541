-- From here on encrypted_config holds encrypted values alone, whatever becomes of the trigger.
-- depends: 0041_decrypt_legacy_sensitive_data 0042_require_encrypted_config
-- depends: 0043_user_server_configs_rotation 0044_monitor_encryption_keys
--
-- It is refused while a row holds anything else: such a row could not even change its state any
-- more. NOT VALID, so that no row is read under a lock; 0046 reads them beside everyone's work.

DO $$
DECLARE
    v_rows bigint;
BEGIN
    SELECT count(*) INTO v_rows
    FROM public.user_server_configs AS c
    WHERE
        c.encrypted_config IS NOT NULL
        AND NOT public.sensitive_data_well_formed(c.encrypted_config);
    IF v_rows > 0 THEN
        RAISE EXCEPTION
            'rows of user_server_configs that hold plain text or the old format in encrypted_config: %',
            v_rows
            USING
                ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'Convert them first, while everyone works: portaldb keys rotate --legacy-key FILE. '
                    'Then run this again.';
    END IF;
END;
$$;

ALTER TABLE public.user_server_configs
    ADD CONSTRAINT valid_encrypted_config CHECK (
        encrypted_config IS NULL OR public.sensitive_data_well_formed(encrypted_config)
    ) NOT VALID;
