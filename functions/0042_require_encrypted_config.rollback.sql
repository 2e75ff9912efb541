-- Lets anything into encrypted_config again.

DROP TRIGGER require_encrypted_config ON public.user_server_configs;
DROP FUNCTION public.require_encrypted_config();
