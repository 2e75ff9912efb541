-- Drops the two functions.

DROP FUNCTION public.disable_server(uuid);
DROP FUNCTION public.enable_server(uuid);
