-- A super_admin changes what another may do, and whether they may come in at all.
-- depends: 0050_require_app_user 0051_create_audit_log_in_context 0062_end_session

-- All super_admins too, in the order of ids: two of them who demote each other at once come one
-- after the other.
CREATE FUNCTION public.lock_super_admins_and(p_user_id uuid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_again boolean := false;
BEGIN
    LOOP
        PERFORM 1
        FROM public.users AS u
        WHERE u.id = p_user_id OR (u.role = 'super_admin' AND u.is_active)
        ORDER BY u.id
        FOR NO KEY UPDATE;
        -- Again for one who erases themselves and became a super_admin while this waited: before,
        -- the policies let them lock nobody else.
        EXIT WHEN v_again OR NOT EXISTS (
            SELECT 1
            FROM public.users AS u
            WHERE u.id = p_user_id AND u.role = 'super_admin' AND u.is_active
        );
        v_again := true;
    END LOOP;
END;
$$;

CREATE FUNCTION public.lock_user(p_user_id uuid)
RETURNS TABLE (role text, is_active boolean, is_last boolean)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM public.lock_super_admins_and(p_user_id);
    SELECT
        u.role,
        coalesce(u.is_active, false),
        u.role = 'super_admin' AND u.is_active AND NOT EXISTS (
            SELECT 1
            FROM public.users AS o
            WHERE o.role = 'super_admin' AND o.is_active AND o.id <> u.id
        )
    INTO role, is_active, is_last
    FROM public.users AS u
    WHERE u.id = p_user_id AND u.erased_at IS NULL;
    IF role IS NULL THEN
        RAISE EXCEPTION 'there is no such user'
            USING
                ERRCODE = 'PT404',
                DETAIL = coalesce(format('It was asked for the id %s.', p_user_id), 'No user is named.'),
                HINT = 'Pass an id of users whose erased_at is NULL.';
    END IF;
    RETURN NEXT;
END;
$$;

CREATE FUNCTION public.refuse_last_super_admin(p_is_last boolean) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_is_last THEN
        RAISE EXCEPTION 'the last super_admin stays one'
            USING
                ERRCODE = 'PT409',
                DETAIL = 'Without an active super_admin nobody could make another.',
                HINT = 'Make another user a super_admin first: set_user_role().';
    END IF;
END;
$$;

CREATE FUNCTION public.set_user_role(p_user_id uuid, p_role text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user record;
BEGIN
    PERFORM public.require_super_admin();
    IF p_role IS NULL OR p_role NOT IN ('super_admin', 'team_admin', 'standard_user') THEN
        RAISE EXCEPTION 'there is no such role'
            USING
                ERRCODE = 'PT400',
                DETAIL = 'A role is super_admin, team_admin or standard_user.',
                HINT = 'Pass one of the three.';
    END IF;
    SELECT l.role, l.is_active, l.is_last INTO v_user
    FROM public.lock_user(p_user_id) AS l;
    -- Once more: the caller may have been demoted while this waited.
    PERFORM public.require_super_admin();

    IF v_user.role = p_role THEN
        RETURN 'unchanged';
    END IF;
    PERFORM public.refuse_last_super_admin(v_user.is_last);

    UPDATE public.users AS u
    SET role = p_role
    WHERE u.id = p_user_id;
    PERFORM public.create_audit_log(
        NULL, 'role_changed', 'user', p_user_id,
        jsonb_build_object('from', v_user.role, 'to', p_role), NULL, NULL
    );
    RETURN 'changed';
END;
$$;

CREATE FUNCTION public.deactivate_user(p_user_id uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user  record;
    v_ended integer;
BEGIN
    PERFORM public.require_super_admin();
    SELECT l.role, l.is_active, l.is_last INTO v_user
    FROM public.lock_user(p_user_id) AS l;
    PERFORM public.require_super_admin();

    IF NOT v_user.is_active THEN
        RETURN 'unchanged';
    END IF;
    PERFORM public.refuse_last_super_admin(v_user.is_last);

    -- Sessions first: one who deactivates themselves is nobody to the policies afterwards.
    v_ended := public.end_sessions(p_user_id, NULL);
    UPDATE public.users AS u
    SET is_active = false
    WHERE u.id = p_user_id;
    PERFORM public.create_audit_log(
        NULL, 'user_deactivated', 'user', p_user_id,
        jsonb_build_object('sessions_ended', v_ended), NULL, NULL
    );
    RETURN 'deactivated';
END;
$$;

CREATE FUNCTION public.reactivate_user(p_user_id uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user record;
BEGIN
    PERFORM public.require_super_admin();
    SELECT l.role, l.is_active, l.is_last INTO v_user
    FROM public.lock_user(p_user_id) AS l;
    PERFORM public.require_super_admin();

    IF v_user.is_active THEN
        RETURN 'unchanged';
    END IF;
    UPDATE public.users AS u
    SET is_active = true
    WHERE u.id = p_user_id;
    PERFORM public.create_audit_log(NULL, 'user_reactivated', 'user', p_user_id, '{}', NULL, NULL);
    RETURN 'reactivated';
END;
$$;

GRANT EXECUTE ON FUNCTION public.set_user_role(uuid, text) TO portal_app;
GRANT EXECUTE ON FUNCTION public.deactivate_user(uuid) TO portal_app;
GRANT EXECUTE ON FUNCTION public.reactivate_user(uuid) TO portal_app;

-- A new owner needs CREATE on the schema at the moment it is given the function, and not after.
GRANT CREATE ON SCHEMA public TO portal_api;
ALTER FUNCTION public.lock_super_admins_and(uuid) OWNER TO portal_api;
ALTER FUNCTION public.lock_user(uuid) OWNER TO portal_api;
ALTER FUNCTION public.refuse_last_super_admin(boolean) OWNER TO portal_api;
ALTER FUNCTION public.set_user_role(uuid, text) OWNER TO portal_api;
ALTER FUNCTION public.deactivate_user(uuid) OWNER TO portal_api;
ALTER FUNCTION public.reactivate_user(uuid) OWNER TO portal_api;
REVOKE CREATE ON SCHEMA public FROM portal_api;

COMMENT ON FUNCTION public.lock_super_admins_and(uuid) IS
'Locks a user and every active super_admin; for the API''s functions alone.';
COMMENT ON FUNCTION public.lock_user(uuid) IS
'Locks a user and every active super_admin, and says what the user is; for the API''s functions alone.
Errors: PT404 there is no such user.';
COMMENT ON FUNCTION public.refuse_last_super_admin(boolean) IS
'Refuses to leave nobody who is a super_admin; for the API''s functions alone.
Errors: PT409 it is the last super_admin.';
COMMENT ON FUNCTION public.set_user_role(uuid, text) IS
'Makes a user a super_admin, team_admin or standard_user, for a super_admin alone. Returns changed or unchanged. The '
'owner makes the first super_admin: portaldb user promote.
Audits: role_changed.
Errors: PT400 there is no such role; PT401 no active user acts; PT403 the caller is no super_admin; PT404 there is no '
'such user; PT409 it is the last super_admin.
Example: SELECT set_user_role(''7f3a4a52-0d6b-4c4e-9d0f-6a6a0f1d2c3b'', ''team_admin'');';
COMMENT ON FUNCTION public.deactivate_user(uuid) IS
'Shuts a user out, for a super_admin alone: their sessions end, every policy shows them nothing, their containers are '
'stopped. Returns deactivated or unchanged. Configurations stay for reactivate_user().
Audits: user_deactivated.
Errors: PT401 no active user acts; PT403 the caller is no super_admin; PT404 there is no such user; PT409 it is the last '
'super_admin.
Example: SELECT deactivate_user(''7f3a4a52-0d6b-4c4e-9d0f-6a6a0f1d2c3b'');';
COMMENT ON FUNCTION public.reactivate_user(uuid) IS
'Lets a deactivated user in again, for a super_admin alone. Returns reactivated or unchanged.
Audits: user_reactivated.
Errors: PT401 no active user acts; PT403 the caller is no super_admin; PT404 there is no such user, or they were erased.
Example: SELECT reactivate_user(''7f3a4a52-0d6b-4c4e-9d0f-6a6a0f1d2c3b'');';
