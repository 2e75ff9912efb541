-- Drops the functions.

DROP FUNCTION public.remove_custom_server(uuid);
DROP FUNCTION public.add_custom_server(text, text, text, text, text, text[], jsonb, text);
DROP FUNCTION public.custom_server_fault(text, jsonb);
