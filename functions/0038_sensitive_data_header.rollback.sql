-- Drops the functions that read an encrypted value without a key.

DROP FUNCTION public.sensitive_data_well_formed(text);
DROP FUNCTION public.sensitive_data_kid(text);
DROP FUNCTION public.sensitive_data_header(text);
DROP FUNCTION public.sensitive_data_context(text, text, uuid, uuid);
DROP FUNCTION public.base64url_length(text);
