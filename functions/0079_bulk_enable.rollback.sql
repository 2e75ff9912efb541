-- Drops the functions.

DROP FUNCTION public.bulk_disable(uuid[]);
DROP FUNCTION public.bulk_enable(uuid[]);
DROP FUNCTION public.require_server_ids(uuid[]);
