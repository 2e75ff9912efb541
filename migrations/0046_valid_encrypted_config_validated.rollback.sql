-- Makes the constraint again as one that holds for new rows.

ALTER TABLE public.user_server_configs DROP CONSTRAINT valid_encrypted_config;
ALTER TABLE public.user_server_configs
    ADD CONSTRAINT valid_encrypted_config CHECK (
        encrypted_config IS NULL OR public.sensitive_data_well_formed(encrypted_config)
    ) NOT VALID;
