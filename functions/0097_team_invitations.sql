-- An admin of a team invites, and the invited accepts or declines.
-- depends: 0051_create_audit_log_in_context 0095_require_team_admin
--
-- They belong to portal_api, whose policies let it make a membership in the context's name alone.

CREATE FUNCTION public.invite_team_member(
    p_team_id uuid,
    p_user_id uuid,
    p_role text DEFAULT 'member'
) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_name text := public.require_team_admin(p_team_id);
    v_role text;
BEGIN
    PERFORM public.require_team_role(p_role);
    IF NOT EXISTS (
        SELECT 1
        FROM public.users AS u
        WHERE u.id = p_user_id AND u.is_active
    ) THEN
        RAISE EXCEPTION 'there is no such user'
            USING
                ERRCODE = 'PT404',
                DETAIL = 'Nobody who is active has this id.',
                HINT = 'Who has never signed in cannot be invited yet.';
    END IF;

    SELECT i.role
    INTO v_role
    FROM public.team_invitations AS i
    WHERE i.team_id = p_team_id AND i.user_id = p_user_id;
    IF FOUND THEN
        IF v_role IS DISTINCT FROM p_role THEN
            RAISE EXCEPTION 'the user is invited already, in another role'
                USING
                    ERRCODE = 'PT409',
                    DETAIL = 'The invitation that waits for an answer stays as it is.',
                    HINT = 'Take it back first: withdraw_team_invitation().';
        END IF;
        RETURN 'unchanged';
    END IF;

    -- After the invitation: who has just accepted one is a member by now.
    SELECT m.role
    INTO v_role
    FROM public.team_members AS m
    WHERE m.team_id = p_team_id AND m.user_id = p_user_id;
    IF FOUND THEN
        IF v_role IS DISTINCT FROM p_role THEN
            RAISE EXCEPTION 'the user is in the team already, in another role'
                USING
                    ERRCODE = 'PT409',
                    DETAIL = 'An invitation changes no role.',
                    HINT = 'Change it with set_team_role().';
        END IF;
        RETURN 'unchanged';
    END IF;

    PERFORM public.require_reach_to_give(p_user_id, p_role);
    INSERT INTO public.team_invitations (team_id, user_id, role, invited_by)
    VALUES (p_team_id, p_user_id, p_role, public.current_app_user_id());
    PERFORM public.create_audit_log(
        NULL, 'team_member_invited', 'team', p_team_id,
        jsonb_build_object('name', v_name, 'user_id', p_user_id, 'role', p_role), NULL, NULL
    );
    RETURN 'invited';
END;
$$;

CREATE FUNCTION public.accept_team_invitation(p_team_id uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user_id    uuid := public.hold_app_user();
    v_name       text := public.require_team(p_team_id);
    v_invitation record;
BEGIN
    -- It goes with the team and with a withdrawal: whoever takes the row is first.
    DELETE FROM public.team_invitations AS i
    WHERE i.team_id = p_team_id AND i.user_id = v_user_id
    RETURNING
        i.role,
        i.invited_by
    INTO v_invitation;
    IF NOT FOUND THEN
        IF EXISTS (
            SELECT 1
            FROM public.team_members AS m
            WHERE m.team_id = p_team_id AND m.user_id = v_user_id
        ) THEN
            RETURN 'unchanged';
        END IF;
        RAISE EXCEPTION 'there is no such invitation'
            USING
                ERRCODE = 'PT404',
                DETAIL = 'The user of this transaction is not invited into this team.',
                HINT = 'Ask an admin of the team for an invitation.';
    END IF;

    -- As if it were sent now: by an admin of the team, who gives no reach that they have not.
    IF NOT EXISTS (
        SELECT 1
        FROM public.users AS u
        INNER JOIN public.users AS me ON me.id = v_user_id
        LEFT JOIN public.team_members AS m ON u.id = m.user_id AND m.team_id = p_team_id
        WHERE
            u.id = v_invitation.invited_by
            AND u.is_active
            AND (u.role = 'super_admin' OR m.role = 'admin')
            AND (
                u.role <> 'standard_user'
                OR v_invitation.role <> 'admin'
                OR me.role <> 'team_admin'
            )
    ) THEN
        RAISE EXCEPTION 'the invitation holds no longer'
            USING
                ERRCODE = 'PT409',
                DETAIL = 'Whoever sent it may not invite the user in this role any more.',
                HINT = 'Decline it, and ask an admin of the team for another.';
    END IF;

    INSERT INTO public.team_members (team_id, user_id, role)
    VALUES (p_team_id, v_user_id, v_invitation.role)
    ON CONFLICT ON CONSTRAINT unique_team_member DO NOTHING;
    IF NOT FOUND THEN
        RETURN 'unchanged';
    END IF;
    PERFORM public.create_audit_log(
        v_user_id, 'team_member_joined', 'team', p_team_id,
        jsonb_build_object(
            'name', v_name, 'user_id', v_user_id, 'role', v_invitation.role,
            'invited_by', v_invitation.invited_by
        ),
        NULL, NULL
    );
    RETURN 'joined';
END;
$$;

CREATE FUNCTION public.decline_team_invitation(p_team_id uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user_id uuid := public.hold_app_user();
    v_name    text := public.require_team(p_team_id);
BEGIN
    DELETE FROM public.team_invitations AS i
    WHERE i.team_id = p_team_id AND i.user_id = v_user_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no such invitation'
            USING
                ERRCODE = 'PT404',
                DETAIL = 'The user of this transaction is not invited into this team.',
                HINT = 'Who is in the team already leaves it with leave_team().';
    END IF;
    PERFORM public.create_audit_log(
        v_user_id, 'team_invitation_withdrawn', 'team', p_team_id,
        jsonb_build_object('name', v_name, 'user_id', v_user_id, 'declined', true), NULL, NULL
    );
    RETURN 'declined';
END;
$$;

CREATE FUNCTION public.withdraw_team_invitation(p_team_id uuid, p_user_id uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_name text := public.require_team_admin(p_team_id);
BEGIN
    DELETE FROM public.team_invitations AS i
    WHERE i.team_id = p_team_id AND i.user_id = p_user_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no such invitation'
            USING
                ERRCODE = 'PT404',
                DETAIL = 'This user is not invited into this team, or has answered.',
                HINT = 'Read who is invited from team_invitations.';
    END IF;
    PERFORM public.create_audit_log(
        NULL, 'team_invitation_withdrawn', 'team', p_team_id,
        jsonb_build_object('name', v_name, 'user_id', p_user_id, 'declined', false), NULL, NULL
    );
    RETURN 'withdrawn';
END;
$$;

GRANT EXECUTE ON FUNCTION public.invite_team_member(uuid, uuid, text) TO portal_app;
GRANT EXECUTE ON FUNCTION public.accept_team_invitation(uuid) TO portal_app;
GRANT EXECUTE ON FUNCTION public.decline_team_invitation(uuid) TO portal_app;
GRANT EXECUTE ON FUNCTION public.withdraw_team_invitation(uuid, uuid) TO portal_app;

-- A new owner needs CREATE on the schema at the moment it is given the function, and not after.
GRANT CREATE ON SCHEMA public TO portal_api;
ALTER FUNCTION public.invite_team_member(uuid, uuid, text) OWNER TO portal_api;
ALTER FUNCTION public.accept_team_invitation(uuid) OWNER TO portal_api;
ALTER FUNCTION public.decline_team_invitation(uuid) OWNER TO portal_api;
ALTER FUNCTION public.withdraw_team_invitation(uuid, uuid) OWNER TO portal_api;
REVOKE CREATE ON SCHEMA public FROM portal_api;

COMMENT ON FUNCTION public.invite_team_member(uuid, uuid, text) IS
'Invites an active user into a team, as member or admin; they belong to it once they accept. An admin of the team or a '
'super_admin may. Returns invited, or unchanged where the user is in the team or invited in that role already. While '
'team_admin_scope is teams, a team_admin reaches what the members of a team have set whose admin they are; so a '
'standard_user cannot invite a team_admin as admin.
Audits: team_member_invited.
Errors: PT400 p_role is not member or admin; PT401 no active user acts; PT403 the user is no admin of the team, or a '
'standard_user who invites a team_admin as admin; PT404 no such team is seen, or nobody active has the id; PT409 the '
'team is disbanded, or the user is in it or invited in another role.
Example: SELECT invite_team_member(''7f3a4a52-0d6b-4c4e-9d0f-6a6a0f1d2c3b'', ''5b1e7f0a-9c1d-4f57-8a38-1f5f1b6f2d10'');';
COMMENT ON FUNCTION public.accept_team_invitation(uuid) IS
'Joins a team that the user of the context is invited into. Returns joined, or unchanged for who is in it already. An '
'admin of the team who is a team_admin may then reach what the user has set.
Audits: team_member_joined.
Errors: PT401 no active user acts; PT404 no such team or invitation is seen; PT409 the team is disbanded, '
'or whoever sent the invitation may not invite any more.
Example: SELECT accept_team_invitation(''7f3a4a52-0d6b-4c4e-9d0f-6a6a0f1d2c3b'');';
COMMENT ON FUNCTION public.decline_team_invitation(uuid) IS
'Ends an invitation that the user of the context got. Returns declined.
Audits: team_invitation_withdrawn.
Errors: PT401 no active user acts; PT404 no such team or invitation is seen; PT409 the team is disbanded.
Example: SELECT decline_team_invitation(''7f3a4a52-0d6b-4c4e-9d0f-6a6a0f1d2c3b'');';
COMMENT ON FUNCTION public.withdraw_team_invitation(uuid, uuid) IS
'Takes back an invitation that waits for an answer. An admin of the team or a super_admin may. Returns withdrawn.
Audits: team_invitation_withdrawn.
Errors: PT401 no active user acts; PT403 the user is no admin of the team; PT404 no such team or invitation is seen; '
'PT409 the team is disbanded.
Example: SELECT withdraw_team_invitation(''7f3a4a52-0d6b-4c4e-9d0f-6a6a0f1d2c3b'', '
'''5b1e7f0a-9c1d-4f57-8a38-1f5f1b6f2d10'');';
