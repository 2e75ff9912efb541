-- Writes base64url with translate again.

CREATE OR REPLACE FUNCTION public.base64url_encode(value bytea) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN translate(encode(value, 'base64'), E'+/=\n', '-_');
