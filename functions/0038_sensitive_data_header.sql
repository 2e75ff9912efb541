-- What an encrypted value says of itself, read without a key: which key made it, and for which row.
-- depends: 0023_base64url
--
-- A value is well formed when each of its five parts is canonical base64url of a length that its
-- algorithm gives, and the header a JSON object of texts, with no member twice and not too long to
-- be one. Whether it was changed since, only its key tells. The context stands in cty; 'none' is a
-- value that is bound to no row.

CREATE FUNCTION public.base64url_length(value text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN
        -- The unused low bits of the last character are zero.
        CASE octet_length(value) % 4
            WHEN 0 THEN true
            WHEN 2 THEN strpos('AQgw', right(value, 1)) > 0
            WHEN 3 THEN strpos('AEIMQUYcgkosw048', right(value, 1)) > 0
        END
        AND value !~ '[^A-Za-z0-9_-]'
        THEN octet_length(value) * 3 / 4
END;

CREATE FUNCTION public.sensitive_data_context(
    table_name text,
    column_name text,
    user_id uuid,
    server_id uuid
) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN table_name || '.' || column_name || '.' || user_id::text || '.' || server_id::text;

CREATE FUNCTION public.sensitive_data_header(
    encrypted_data text,
    OUT kid text,
    OUT enc text,
    OUT context text
)
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_parts      text[] := string_to_array(encrypted_data, '.');
    v_iv         integer;
    v_ciphertext integer;
    v_tag        integer;
    v_text       text;
    v_header     jsonb;
    v_enc        text := 'A256CBC-HS512';
    v_kid        text;
    v_context    text;
BEGIN
    -- With dir there is no encrypted key: its place between the dots is empty.
    IF cardinality(v_parts) IS DISTINCT FROM 5
        OR v_parts[2] <> ''
        OR octet_length(v_parts[1]) > 4096
        OR public.base64url_length(v_parts[1]) IS NULL
    THEN
        RETURN;
    END IF;
    v_iv := public.base64url_length(v_parts[3]);
    v_ciphertext := public.base64url_length(v_parts[4]);
    v_tag := public.base64url_length(v_parts[5]);
    v_text := convert_from(
        decode(
            replace(replace(v_parts[1], '-', '+'), '_', '/')
            || repeat('=', -octet_length(v_parts[1]) & 3),
            'base64'
        ),
        'UTF8'
    );

    -- Nearly every header is one that we wrote, and needs no parser.
    v_kid := split_part(v_text, '"', 12);
    v_context := split_part(split_part(v_text, '"', 16), '=', 2);
    IF v_text <> '{"alg":"dir","enc":"A256CBC-HS512","kid":"' || v_kid
        || '","cty":"text/plain;ctx=' || v_context || '"}'
    THEN
        v_header := v_text::jsonb;
        -- Of a member that is there twice jsonb keeps the last; another reader keeps the first. What
        -- is no text, readers take in different ways: a number too long, a list too deep.
        IF v_header ->> 'alg' IS DISTINCT FROM 'dir'
            OR v_header ?| ARRAY['crit', 'zip']
            OR EXISTS (
                SELECT FROM jsonb_each(v_header) AS m (name, value)
                WHERE jsonb_typeof(m.value) <> 'string'
            )
            OR (SELECT count(*) <> count(DISTINCT m.name) FROM json_object_keys(v_text::json) AS m (name))
        THEN
            RETURN;
        END IF;
        v_enc := v_header ->> 'enc';
        v_kid := v_header ->> 'kid';
        v_context := 'none';
        IF strpos(v_header ->> 'cty', 'ctx') > 0 THEN
            v_context := substring(v_header ->> 'cty' FROM '^text/plain;ctx=(.*)$');
        END IF;
    END IF;

    IF (
        v_enc = 'A256CBC-HS512' AND v_iv = 16 AND v_tag = 32 AND v_ciphertext > 0 AND v_ciphertext % 16 = 0
        OR v_enc = 'A256GCM' AND v_iv = 12 AND v_tag = 16 AND v_ciphertext >= 0
    )
    AND v_kid !~ '[^A-Za-z0-9._~-]'
    AND length(v_kid) BETWEEN 1 AND 128
    AND v_context !~ '[^A-Za-z0-9_.-]'
    AND length(v_context) BETWEEN 1 AND 200
    THEN
        enc := v_enc;
        kid := v_kid;
        context := v_context;
    END IF;
EXCEPTION
    -- The header is no UTF-8, or no JSON object.
    WHEN OTHERS THEN
        RETURN;
END;
$$;

CREATE FUNCTION public.sensitive_data_kid(encrypted_data text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN (public.sensitive_data_header(encrypted_data)).kid;

CREATE FUNCTION public.sensitive_data_well_formed(encrypted_data text) RETURNS boolean
LANGUAGE sql IMMUTABLE
RETURN (public.sensitive_data_header(encrypted_data)).kid IS NOT NULL;

-- Who may ask the header needs what it asks: without, it would say of every value that it is none.
GRANT EXECUTE ON FUNCTION public.base64url_length(text)
TO portal_app, portal_runner, portal_maintenance, portal_monitor;
GRANT EXECUTE ON FUNCTION public.sensitive_data_context(text, text, uuid, uuid)
TO portal_app, portal_runner, portal_maintenance;
-- The monitor counts values by what they say, and whoever writes a row is asked whether its value
-- is well formed.
GRANT EXECUTE ON FUNCTION public.sensitive_data_header(text)
TO portal_app, portal_runner, portal_maintenance, portal_monitor;
GRANT EXECUTE ON FUNCTION public.sensitive_data_kid(text)
TO portal_app, portal_runner, portal_maintenance;
GRANT EXECUTE ON FUNCTION public.sensitive_data_well_formed(text)
TO portal_app, portal_runner, portal_maintenance;

COMMENT ON FUNCTION public.base64url_length(text) IS
'Bytes that canonical base64url without padding stands for; NULL for any other text.';
COMMENT ON FUNCTION public.sensitive_data_context(text, text, uuid, uuid) IS
'What a value of this column, user and server is bound to: TABLE.COLUMN.USER_ID.SERVER_ID.';
COMMENT ON FUNCTION public.sensitive_data_header(text) IS
'Key id, algorithm and context (''none'' for an unbound value) of a well-formed value; all NULL for any other text.';
COMMENT ON FUNCTION public.sensitive_data_kid(text) IS
'The id of the key that made a well-formed value; NULL for any other text. Needs no key and proves nothing.';
COMMENT ON FUNCTION public.sensitive_data_well_formed(text) IS
'Whether a text has the form of an encrypted value with a key id; false for NULL. Only the key tells whether it opens.';
