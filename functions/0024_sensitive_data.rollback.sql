-- Drops the encryption functions; encrypted values stay, and any JOSE library still reads them.

DROP FUNCTION public.decrypt_sensitive_data(text, text);
DROP FUNCTION public.encrypt_sensitive_data(text, text);
DROP FUNCTION public.a256cbc_hs512_tag(bytea, bytea, bytea, bytea);
DROP FUNCTION public.sensitive_data_key(text);
