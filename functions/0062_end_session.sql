-- Signing out: of one device, or of all.
-- depends: 0061_refresh_session

CREATE FUNCTION public.end_session(p_session_id uuid DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user_id    uuid := public.require_app_user();
    v_session_id text := coalesce(
        p_session_id::text, nullif(current_setting('app.session_id', true), '')
    );
    v_family     uuid;
    v_ended      integer;
BEGIN
    SELECT coalesce(s.family_id, s.id) INTO v_family
    FROM public.user_sessions AS s
    WHERE s.id::text = v_session_id AND s.user_id = v_user_id;
    IF v_family IS NULL THEN
        RAISE EXCEPTION 'the user has no such session'
            USING
                ERRCODE = 'PT404',
                DETAIL = coalesce(
                    'It was asked for the id ' || v_session_id || '.', 'No session is named.'
                ),
                HINT = 'Pass an id of user_sessions, or call authenticate() first, which names the session.';
    END IF;

    v_ended := public.end_sessions(v_user_id, v_family);
    IF v_ended > 0 THEN
        PERFORM public.create_audit_log(
            NULL, 'logout', 'session', v_family, jsonb_build_object('ended', v_ended), NULL, NULL
        );
    END IF;
    RETURN v_ended;
END;
$$;

CREATE FUNCTION public.end_all_sessions(p_user_id uuid DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_actor_id uuid := public.require_app_user();
    v_user_id  uuid := coalesce(p_user_id, v_actor_id);
    v_ended    integer;
BEGIN
    IF v_user_id <> v_actor_id THEN
        PERFORM public.require_super_admin();
        IF NOT EXISTS (SELECT 1 FROM public.users AS u WHERE u.id = v_user_id) THEN
            RAISE EXCEPTION 'there is no such user'
                USING
                    ERRCODE = 'PT404',
                    DETAIL = format('It was asked for the id %s.', v_user_id),
                    HINT = 'Pass an id of users, or NULL for the user of this transaction.';
        END IF;
    END IF;

    v_ended := public.end_sessions(v_user_id, NULL);
    -- Once more: the caller may have been demoted while this waited, and then saw none of another.
    IF v_user_id <> v_actor_id THEN
        PERFORM public.require_super_admin();
    END IF;
    IF v_ended > 0 THEN
        PERFORM public.create_audit_log(
            NULL, 'logout', 'user', v_user_id, jsonb_build_object('ended', v_ended), NULL, NULL
        );
    END IF;
    RETURN v_ended;
END;
$$;

GRANT EXECUTE ON FUNCTION public.end_session(uuid) TO portal_app;
GRANT EXECUTE ON FUNCTION public.end_all_sessions(uuid) TO portal_app;

-- A new owner needs CREATE on the schema at the moment it is given the function, and not after.
GRANT CREATE ON SCHEMA public TO portal_api;
ALTER FUNCTION public.end_session(uuid) OWNER TO portal_api;
ALTER FUNCTION public.end_all_sessions(uuid) OWNER TO portal_api;
REVOKE CREATE ON SCHEMA public FROM portal_api;

COMMENT ON FUNCTION public.end_session(uuid) IS
'Ends a session of the user of this transaction, with all that continue the same sign-in, and returns how many were '
'active. NULL stands for the session of this transaction. Its tokens serve for nothing from then on.
Audits: logout.
Errors: PT401 no active user acts; PT404 the user has no such session.
Example: SELECT end_session();';
COMMENT ON FUNCTION public.end_all_sessions(uuid) IS
'Ends all sessions of the user of this transaction, or, for a super_admin, of another, and returns how many were active.
Audits: logout.
Errors: PT401 no active user acts; PT403 another user''s, and the caller is no super_admin; PT404 there is no such user.
Example: SELECT end_all_sessions();';
