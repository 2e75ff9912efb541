-- Every row's encrypted_config is an encrypted value.
-- depends: 0045_valid_encrypted_config

ALTER TABLE public.user_server_configs VALIDATE CONSTRAINT valid_encrypted_config;
