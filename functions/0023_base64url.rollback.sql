-- Drops the base64url functions.

DROP FUNCTION public.base64url_decode(text);
DROP FUNCTION public.base64url_encode(bytea);
