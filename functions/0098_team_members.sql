-- Roles in a team change, and members leave or are removed; none of it takes the last active admin.
-- depends: 0051_create_audit_log_in_context 0095_require_team_admin
--
-- They belong to portal_api, whose policies let it write the teams that the context's user leads.

CREATE FUNCTION public.set_team_role(p_team_id uuid, p_user_id uuid, p_role text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_name text := public.require_team_admin(p_team_id);
    v_role text;
BEGIN
    PERFORM public.require_team_role(p_role);
    SELECT m.role
    INTO v_role
    FROM public.team_members AS m
    WHERE m.team_id = p_team_id AND m.user_id = p_user_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no such member'
            USING
                ERRCODE = 'PT404',
                DETAIL = 'This user is not in this team.',
                HINT = 'Invite them with invite_team_member().';
    END IF;
    IF v_role IS NOT DISTINCT FROM p_role THEN
        RETURN 'unchanged';
    END IF;
    IF v_role = 'admin' THEN
        PERFORM public.require_other_team_admin(p_team_id, p_user_id);
    END IF;
    PERFORM public.require_reach_to_give(p_user_id, p_role);

    UPDATE public.team_members AS m
    SET role = p_role
    WHERE m.team_id = p_team_id AND m.user_id = p_user_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no such member'
            USING
                ERRCODE = 'PT404',
                DETAIL = 'This user left the team meanwhile.',
                HINT = 'Invite them with invite_team_member().';
    END IF;
    PERFORM public.create_audit_log(
        NULL, 'team_role_changed', 'team', p_team_id,
        jsonb_build_object(
            'name', v_name, 'user_id', p_user_id, 'old_role', v_role, 'new_role', p_role
        ),
        NULL, NULL
    );
    RETURN 'changed';
END;
$$;

CREATE FUNCTION public.remove_team_member(p_team_id uuid, p_user_id uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_name text := public.require_team_admin(p_team_id);
    v_role text;
BEGIN
    DELETE FROM public.team_members AS m
    WHERE m.team_id = p_team_id AND m.user_id = p_user_id
    RETURNING m.role INTO v_role;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no such member'
            USING
                ERRCODE = 'PT404',
                DETAIL = 'This user is not in this team.',
                HINT = 'Who is only invited is taken back with withdraw_team_invitation().';
    END IF;
    IF v_role = 'admin' THEN
        PERFORM public.require_other_team_admin(p_team_id, p_user_id);
    END IF;
    -- What they sent out goes too: they could not let anybody in any more.
    DELETE FROM public.team_invitations AS i
    WHERE i.team_id = p_team_id AND i.invited_by = p_user_id;
    PERFORM public.create_audit_log(
        NULL, 'team_member_removed', 'team', p_team_id,
        jsonb_build_object('name', v_name, 'user_id', p_user_id, 'role', v_role), NULL, NULL
    );
    RETURN 'removed';
END;
$$;

CREATE FUNCTION public.leave_team(p_team_id uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user_id uuid := public.hold_app_user();
    v_name    text := public.require_team(p_team_id);
    v_role    text;
BEGIN
    -- Who is made an admin while this waits is no member any more when it goes on.
    DELETE FROM public.team_members AS m
    WHERE
        m.team_id = p_team_id
        AND m.user_id = v_user_id
        AND m.role IS DISTINCT FROM 'admin'
    RETURNING m.role INTO v_role;
    IF NOT FOUND THEN
        IF NOT EXISTS (
            SELECT 1
            FROM public.team_members AS m
            WHERE m.team_id = p_team_id AND m.user_id = v_user_id
        ) THEN
            RAISE EXCEPTION 'the user is not in the team'
                USING
                    ERRCODE = 'PT404',
                    DETAIL = 'Who is not in a team cannot leave it.',
                    HINT = 'An invitation is declined with decline_team_invitation().';
        END IF;
        -- An admin leaves as one who changes the team.
        RETURN regexp_replace(
            public.remove_team_member(p_team_id, v_user_id), '^removed$', 'left'
        );
    END IF;
    PERFORM public.create_audit_log(
        v_user_id, 'team_member_removed', 'team', p_team_id,
        jsonb_build_object('name', v_name, 'user_id', v_user_id, 'role', v_role), NULL, NULL
    );
    RETURN 'left';
END;
$$;

GRANT EXECUTE ON FUNCTION public.set_team_role(uuid, uuid, text) TO portal_app;
GRANT EXECUTE ON FUNCTION public.remove_team_member(uuid, uuid) TO portal_app;
GRANT EXECUTE ON FUNCTION public.leave_team(uuid) TO portal_app;

-- A new owner needs CREATE on the schema at the moment it is given the function, and not after.
GRANT CREATE ON SCHEMA public TO portal_api;
ALTER FUNCTION public.set_team_role(uuid, uuid, text) OWNER TO portal_api;
ALTER FUNCTION public.remove_team_member(uuid, uuid) OWNER TO portal_api;
ALTER FUNCTION public.leave_team(uuid) OWNER TO portal_api;
REVOKE CREATE ON SCHEMA public FROM portal_api;

COMMENT ON FUNCTION public.set_team_role(uuid, uuid, text) IS
'Makes a member of a team its admin, or an admin a member. An admin of the team or a super_admin may. Returns changed, '
'or unchanged where the role is that already. While team_admin_scope is teams, a team_admin reaches what the members of '
'a team have set whose admin they are; so a standard_user cannot make a team_admin an admin.
Audits: team_role_changed.
Errors: PT400 p_role is not member or admin; PT401 no active user acts; PT403 the user is no admin of the team, or a '
'standard_user who promotes a team_admin; PT404 no such team or member is seen; PT409 the team is disbanded, or would '
'be left without an active admin.
Example: SELECT set_team_role(''7f3a4a52-0d6b-4c4e-9d0f-6a6a0f1d2c3b'', ''5b1e7f0a-9c1d-4f57-8a38-1f5f1b6f2d10'', '
'''admin'');';
COMMENT ON FUNCTION public.remove_team_member(uuid, uuid) IS
'Takes a member out of a team. An admin of the team or a super_admin may. Returns removed.
Audits: team_member_removed.
Errors: PT401 no active user acts; PT403 the user is no admin of the team; PT404 no such team or member is seen; PT409 '
'the team is disbanded, or would be left without an active admin.
Example: SELECT remove_team_member(''7f3a4a52-0d6b-4c4e-9d0f-6a6a0f1d2c3b'', '
'''5b1e7f0a-9c1d-4f57-8a38-1f5f1b6f2d10'');';
COMMENT ON FUNCTION public.leave_team(uuid) IS
'Takes the user of the context out of a team. Returns left.
Audits: team_member_removed.
Errors: PT401 no active user acts; PT403 the user was an admin of the team and is no longer; PT404 no such team is seen, '
'or the user is not in it; PT409 the team is disbanded, or would be left without an active admin.
Example: SELECT leave_team(''7f3a4a52-0d6b-4c4e-9d0f-6a6a0f1d2c3b'');';
