-- A person is forgotten: what is theirs goes, and the row that the trail points at says nothing.
-- depends: 0063_set_user_role
--
-- What another transaction is inserting for the user at that moment must not be left behind. A
-- foreign key holds the user's row until its transaction ends, and blanking azure_oid, which is
-- unique, waits for that: what was inserted before is seen and deleted. Whoever comes later waits
-- for the erasure in turn, passes the foreign key, and is refused by the trigger, which fires after
-- it: triggers of one event fire by name, and the key's own begin with RI_.

CREATE FUNCTION public.refuse_erased_user() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (
        SELECT 1
        FROM public.users AS u
        WHERE u.id = NEW.user_id AND u.erased_at IS NOT NULL
    ) THEN
        RAISE EXCEPTION 'the user was erased'
            USING
                ERRCODE = 'PT409',
                DETAIL = format('A row of %s was to be made for them.', tg_table_name),
                HINT = 'Nothing is kept of an erased user; whoever comes back signs in as a new one.';
    END IF;
    RETURN NULL;
END;
$$;

CREATE FUNCTION public.refuse_erased_maker() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (
        SELECT 1
        FROM public.users AS u
        WHERE u.id = NEW.created_by AND u.erased_at IS NOT NULL
    ) THEN
        RAISE EXCEPTION 'the user was erased'
            USING
                ERRCODE = 'PT409',
                DETAIL = format('A row of %s was to be made for them.', tg_table_name),
                HINT = 'Nothing is kept of an erased user; whoever comes back signs in as a new one.';
    END IF;
    RETURN NULL;
END;
$$;

CREATE TRIGGER refuse_erased_user
    AFTER INSERT ON public.user_sessions
    FOR EACH ROW EXECUTE FUNCTION public.refuse_erased_user();
CREATE TRIGGER refuse_erased_user
    AFTER INSERT ON public.user_server_configs
    FOR EACH ROW EXECUTE FUNCTION public.refuse_erased_user();
CREATE TRIGGER refuse_erased_user
    AFTER INSERT ON public.team_members
    FOR EACH ROW EXECUTE FUNCTION public.refuse_erased_user();
CREATE TRIGGER refuse_erased_maker
    AFTER INSERT ON public.mcp_servers
    FOR EACH ROW WHEN (new.created_by IS NOT NULL)
    EXECUTE FUNCTION public.refuse_erased_maker();

CREATE FUNCTION public.erase_user(p_user_id uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_actor_id uuid := public.require_app_user();
    v_user     record;
    v_sessions integer;
    v_configs  integer;
    v_servers  integer;
BEGIN
    IF p_user_id IS DISTINCT FROM v_actor_id THEN
        PERFORM public.require_super_admin();
    END IF;
    SELECT l.role, l.is_active, l.is_last INTO v_user
    FROM public.lock_user(p_user_id) AS l;
    IF p_user_id IS DISTINCT FROM v_actor_id THEN
        PERFORM public.require_super_admin();
    ELSE
        PERFORM public.require_app_user();
    END IF;
    PERFORM public.refuse_last_super_admin(v_user.is_last);

    UPDATE public.users AS u
    SET
        azure_oid = 'erased:' || u.id,
        email = 'erased',
        display_name = NULL,
        role = 'standard_user',
        metadata = '{}',
        last_login_at = NULL,
        is_active = false,
        erased_at = CURRENT_TIMESTAMP
    WHERE u.id = p_user_id;

    DELETE FROM public.user_sessions AS s WHERE s.user_id = p_user_id;
    GET DIAGNOSTICS v_sessions = ROW_COUNT;
    DELETE FROM public.user_server_configs AS c WHERE c.user_id = p_user_id;
    GET DIAGNOSTICS v_configs = ROW_COUNT;
    DELETE FROM public.mcp_servers AS s
    WHERE s.created_by = p_user_id AND s.catalog_type = 'custom';
    GET DIAGNOSTICS v_servers = ROW_COUNT;
    DELETE FROM public.team_members AS m WHERE m.user_id = p_user_id;

    PERFORM public.create_audit_log(
        NULL, 'user_erased', 'user', p_user_id,
        jsonb_build_object(
            'sessions', v_sessions, 'configs', v_configs, 'custom_servers', v_servers
        ),
        NULL, NULL
    );
    RETURN 'erased';
END;
$$;

GRANT EXECUTE ON FUNCTION public.erase_user(uuid) TO portal_app;

-- A new owner needs CREATE on the schema at the moment it is given the function, and not after.
GRANT CREATE ON SCHEMA public TO portal_api;
ALTER FUNCTION public.refuse_erased_user() OWNER TO portal_api;
ALTER FUNCTION public.refuse_erased_maker() OWNER TO portal_api;
ALTER FUNCTION public.erase_user(uuid) OWNER TO portal_api;
REVOKE CREATE ON SCHEMA public FROM portal_api;

COMMENT ON FUNCTION public.refuse_erased_user() IS
'Trigger: refuses a row for a user who was erased, a moment ago or long since.
Errors: PT409 the user was erased.';
COMMENT ON FUNCTION public.refuse_erased_maker() IS
'Trigger: refuses a custom server of a user who was erased, a moment ago or long since.
Errors: PT409 the user was erased.';
COMMENT ON FUNCTION public.erase_user(uuid) IS
'Erases a user, for themselves or a super_admin: sessions, configurations, custom servers and memberships are deleted, '
'the personal data in users blanked. The row stays, deactivated for ever, because the audit trail points at it; addresses, '
'programs, and names and images of custom servers in the trail go with its retention. Who signs in again is a new user. Returns erased.
Audits: user_erased.
Errors: PT401 no active user acts; PT403 another user, and the caller is no super_admin; PT404 there is no such user, or '
'they were erased before; PT409 it is the last super_admin.
Example: SELECT erase_user(''7f3a4a52-0d6b-4c4e-9d0f-6a6a0f1d2c3b'');';
