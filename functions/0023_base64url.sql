-- Base64url without padding (RFC 4648, section 5), as JOSE writes it; PostgreSQL has only base64.
-- depends: 0001_default_privileges
--
-- Decoding is strict: one text for one value. Lax decoding would let a changed envelope open.

CREATE FUNCTION public.base64url_encode(value bytea) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN translate(encode(value, 'base64'), E'+/=\n', '-_');

CREATE FUNCTION public.base64url_decode(value text) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_decoded bytea;
BEGIN
    IF value ~ '[^A-Za-z0-9_-]' OR length(value) % 4 = 1 THEN
        RETURN NULL;
    END IF;
    v_decoded := decode(
        translate(value, '-_', '+/') || repeat('=', (4 - length(value) % 4) % 4), 'base64'
    );
    -- The unused low bits of the last character must be zero.
    IF public.base64url_encode(v_decoded) <> value THEN
        RETURN NULL;
    END IF;
    RETURN v_decoded;
END;
$$;

GRANT EXECUTE ON FUNCTION public.base64url_encode(bytea) TO portal_app, portal_runner;
GRANT EXECUTE ON FUNCTION public.base64url_decode(text) TO portal_app, portal_runner;

COMMENT ON FUNCTION public.base64url_encode(bytea) IS
'Bytes as base64url without padding or line breaks.';
COMMENT ON FUNCTION public.base64url_decode(text) IS
'The bytes of canonical base64url without padding; NULL for any other text.';
