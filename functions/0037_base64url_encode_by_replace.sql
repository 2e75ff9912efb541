-- Base64url is written with replace: translate goes through the text character by character.
-- depends: 0023_base64url
--
-- Of a value of 100 bytes it was a third of what encrypting costs.

CREATE OR REPLACE FUNCTION public.base64url_encode(value bytea) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN replace(
    replace(replace(replace(encode(value, 'base64'), E'\n', ''), '=', ''), '+', '-'), '/', '_'
);
