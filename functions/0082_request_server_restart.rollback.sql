-- Drops the function.

DROP FUNCTION public.request_server_restart(uuid);
