-- Drops the function that opens the old format.

DROP FUNCTION public.decrypt_legacy_sensitive_data(text, text);
