-- Says in one call whom the transaction is about, and from where: what policies and the audit read.
-- depends: 0003_current_app_user_id
--
-- Transaction-local, so that a connection that goes back to a pool says nothing of its last user.

CREATE FUNCTION public.set_app_context(
    p_user_id uuid,
    p_ip_address inet DEFAULT NULL,
    p_user_agent text DEFAULT NULL,
    p_session_id text DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF length(p_session_id) > 255 THEN
        RAISE EXCEPTION 'the session id is too long'
            USING
                ERRCODE = 'PT400',
                DETAIL = format('It has %s letters, 255 at most are taken.', length(p_session_id)),
                HINT = 'Pass the id of the session as authenticate() gives it, not a token.';
    END IF;

    PERFORM
        set_config('app.current_user_id', format('%s', p_user_id), true),
        set_config('app.ip_address', format('%s', p_ip_address), true),
        set_config('app.user_agent', coalesce(left(p_user_agent, 1024), ''), true),
        set_config('app.session_id', coalesce(p_session_id, ''), true);
END;
$$;

GRANT EXECUTE ON FUNCTION public.set_app_context(uuid, inet, text, text) TO portal_app, portal_api;

COMMENT ON FUNCTION public.set_app_context(uuid, inet, text, text) IS
'Makes p_user_id the user of this transaction, with the address, program and session that its audit entries name. It '
'ends with the transaction, so it is called inside one; NULL is nobody. It does not look the user up: the policies show '
'one who is not active nothing.
Errors: PT400 the session id has more than 255 letters.
Example: SELECT set_app_context(''7f3a4a52-0d6b-4c4e-9d0f-6a6a0f1d2c3b'', ''192.0.2.1'', ''portal/1.0'');';
