-- Leaves it to the trigger alone what encrypted_config holds.

ALTER TABLE public.user_server_configs DROP CONSTRAINT valid_encrypted_config;
