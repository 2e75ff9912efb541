-- Teams are made by a team_admin or a super_admin, and ended by their admins.
-- depends: 0051_create_audit_log_in_context 0095_require_team_admin
--
-- They belong to portal_api, whose policies let it write teams in the context's name alone.

CREATE FUNCTION public.create_team(p_name text, p_description text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user_id uuid := public.hold_app_user();
    v_team_id uuid := public.uuid_generate_v4();
BEGIN
    IF NOT EXISTS (
        SELECT 1
        FROM public.users AS u
        WHERE u.id = v_user_id AND u.role IN ('team_admin', 'super_admin')
    ) THEN
        RAISE EXCEPTION 'only a team_admin or a super_admin makes a team'
            USING
                ERRCODE = 'PT403',
                DETAIL = 'The user of this transaction has another role.',
                HINT = 'Ask a super_admin for the role of team_admin, or a team_admin for the team.';
    END IF;
    IF p_name IS NULL OR p_name !~ '\S' OR length(p_name) > 255 THEN
        RAISE EXCEPTION 'the name of the team is missing or too long'
            USING
                ERRCODE = 'PT400',
                DETAIL = 'A name has 1 to 255 letters, and not only spaces.',
                HINT = 'Pass another p_name.';
    END IF;
    IF length(p_description) > 10000 THEN
        RAISE EXCEPTION 'the description of the team is too long'
            USING
                ERRCODE = 'PT400',
                DETAIL = format('It has %s letters, 10000 at most are taken.', length(p_description)),
                HINT = 'Pass a shorter p_description.';
    END IF;

    INSERT INTO public.teams (id, name, description, created_by)
    VALUES (v_team_id, p_name, p_description, v_user_id);
    INSERT INTO public.team_members (team_id, user_id, role)
    VALUES (v_team_id, v_user_id, 'admin');
    PERFORM public.create_audit_log(
        v_user_id, 'team_created', 'team', v_team_id, jsonb_build_object('name', p_name), NULL, NULL
    );
    RETURN v_team_id;
END;
$$;

CREATE FUNCTION public.disband_team(p_team_id uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_name text := public.require_team_admin(p_team_id);
BEGIN
    -- Before the team: once it is disbanded, nobody leads it.
    DELETE FROM public.team_invitations AS i
    WHERE i.team_id = p_team_id;
    UPDATE public.teams AS t
    SET is_active = false
    WHERE t.id = p_team_id;
    PERFORM public.create_audit_log(
        NULL, 'team_disbanded', 'team', p_team_id, jsonb_build_object('name', v_name), NULL, NULL
    );
    RETURN 'disbanded';
END;
$$;

GRANT EXECUTE ON FUNCTION public.create_team(text, text) TO portal_app;
GRANT EXECUTE ON FUNCTION public.disband_team(uuid) TO portal_app;

-- A new owner needs CREATE on the schema at the moment it is given the function, and not after.
GRANT CREATE ON SCHEMA public TO portal_api;
ALTER FUNCTION public.create_team(text, text) OWNER TO portal_api;
ALTER FUNCTION public.disband_team(uuid) OWNER TO portal_api;
REVOKE CREATE ON SCHEMA public FROM portal_api;

COMMENT ON FUNCTION public.create_team(text, text) IS
'Makes a team, whose admin its maker is, and returns its id. A team_admin or a super_admin may.
Audits: team_created.
Errors: PT400 the name is missing, blank or over 255 letters, or the description over 10000; PT401 no active user acts; '
'PT403 the user has another role.
Example: SELECT create_team(''Search'', ''Those who look after search'');';
COMMENT ON FUNCTION public.disband_team(uuid) IS
'Ends a team for good: it reaches nobody any more, its invitations go, its members remain to be read. An admin of the '
'team or a super_admin may. Returns disbanded.
Audits: team_disbanded.
Errors: PT401 no active user acts; PT403 the user is no admin of it; PT404 no such team is seen; PT409 it is disbanded '
'already.
Example: SELECT disband_team(''7f3a4a52-0d6b-4c4e-9d0f-6a6a0f1d2c3b'');';
