-- Drops the function.

DROP FUNCTION public.update_server_config(uuid, text, jsonb, boolean, timestamptz);
