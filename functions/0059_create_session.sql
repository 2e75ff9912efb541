-- A session is opened: its two tokens are told once, and kept as digests.
-- depends: 0050_require_app_user 0053_session_settings 0057_people_api_policies

-- STABLE as convert_to() is: else it would not become part of the statement that asks, and a call
-- would cost several times what the statement does.
CREATE FUNCTION public.token_digest(p_token text) RETURNS text
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN encode(sha256(convert_to(p_token, 'UTF8')), 'hex');

CREATE FUNCTION public.open_session(
    p_user_id uuid, p_family_id uuid, p_renewable_until timestamptz
) RETURNS TABLE (session_id uuid, session_token text, refresh_token text, expires_at timestamptz)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    session_id := public.uuid_generate_v4();
    session_token := public.base64url_encode(public.gen_random_bytes(32));
    refresh_token := public.base64url_encode(public.gen_random_bytes(32));
    expires_at := least(
        p_renewable_until,
        CURRENT_TIMESTAMP + coalesce(
            (SELECT s.value FROM public.settings AS s WHERE s.name = 'session_lifetime'), '0 seconds'
        )::interval
    );
    INSERT INTO public.user_sessions (
        id, user_id, session_token, refresh_token, expires_at, family_id, renewable_until,
        ip_address, user_agent
    ) VALUES (
        session_id, p_user_id, public.token_digest(session_token), public.token_digest(refresh_token),
        expires_at, p_family_id, p_renewable_until,
        nullif(current_setting('app.ip_address', true), '')::inet,
        nullif(current_setting('app.user_agent', true), '')
    );
    RETURN NEXT;
END;
$$;

CREATE FUNCTION public.create_session()
RETURNS TABLE (session_id uuid, session_token text, refresh_token text, expires_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    -- Whoever deactivates the user waits, and then ends this session too.
    v_user_id uuid := public.hold_app_user();
BEGIN
    SELECT s.session_id, s.session_token, s.refresh_token, s.expires_at
    INTO session_id, session_token, refresh_token, expires_at
    FROM public.open_session(
        v_user_id,
        NULL,
        CURRENT_TIMESTAMP
        + (SELECT c.value FROM public.settings AS c WHERE c.name = 'session_renewable')::interval
    ) AS s;
    PERFORM set_config('app.session_id', session_id::text, true);
    RETURN NEXT;
END;
$$;

GRANT EXECUTE ON FUNCTION public.base64url_encode(bytea) TO portal_api;
GRANT EXECUTE ON FUNCTION public.create_session() TO portal_app;

-- A new owner needs CREATE on the schema at the moment it is given the function, and not after.
GRANT CREATE ON SCHEMA public TO portal_api;
ALTER FUNCTION public.token_digest(text) OWNER TO portal_api;
ALTER FUNCTION public.open_session(uuid, uuid, timestamptz) OWNER TO portal_api;
ALTER FUNCTION public.create_session() OWNER TO portal_api;
REVOKE CREATE ON SCHEMA public FROM portal_api;

COMMENT ON FUNCTION public.token_digest(text) IS
'The SHA-256 of a token in hex, as user_sessions keeps it.';
COMMENT ON FUNCTION public.open_session(uuid, uuid, timestamptz) IS
'Makes a session''s row and returns its tokens; for create_session() and refresh_session() alone.';
COMMENT ON FUNCTION public.create_session() IS
'Opens a session for the user of this transaction and returns its tokens, which are kept nowhere else: give both to the '
'device. Address and program are those of set_app_context(). sign_in() has audited the login.
Errors: PT401 no active user acts.
Example: SELECT * FROM create_session();';
