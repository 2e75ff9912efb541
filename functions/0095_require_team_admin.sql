-- Who may change a team: asked by every function that changes one, so that all refuse alike.
-- depends: 0050_require_app_user 0093_app_led_team_ids 0094_team_changes
--
-- For the functions of portal_api alone. The team's row is written, not only locked: of two who
-- change one team at once the second waits, and under REPEATABLE READ it fails and tries again. So
-- two admins cannot demote each other.

CREATE FUNCTION public.require_team(p_team_id uuid) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user_id uuid := public.require_app_user();
    v_team    record;
BEGIN
    SELECT
        t.name,
        t.is_active
    INTO v_team
    FROM public.teams AS t
    WHERE
        t.id = p_team_id
        AND (
            EXISTS (
                SELECT 1
                FROM public.team_members AS m
                WHERE m.team_id = t.id AND m.user_id = v_user_id
            )
            OR t.id = ANY (public.app_invited_team_ids())
            OR EXISTS (SELECT 1 FROM public.app_reach AS r WHERE r.everyone_from IS NOT NULL)
        );
    IF NOT FOUND THEN
        RAISE EXCEPTION 'there is no such team'
            USING
                ERRCODE = 'PT404',
                DETAIL = 'The user of this transaction sees no team of this id.',
                HINT = 'Read the ids of one''s teams from teams.';
    END IF;
    IF v_team.is_active IS NOT TRUE THEN
        RAISE EXCEPTION 'the team is disbanded'
            USING
                ERRCODE = 'PT409',
                DETAIL = 'Its members remain to be read, and nothing of it changes any more.',
                HINT = 'Make another team with create_team().';
    END IF;
    RETURN v_team.name;
END;
$$;

CREATE FUNCTION public.require_team_admin(p_team_id uuid) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_name text;
BEGIN
    PERFORM public.hold_app_user();
    v_name := public.require_team(p_team_id);
    UPDATE public.teams AS t
    SET is_active = true
    WHERE t.id = p_team_id AND t.is_active;
    -- Asked after the row is ours: whoever had it may have disbanded the team or changed our role.
    IF FOUND AND p_team_id = ANY (public.app_led_team_ids()) THEN
        RETURN v_name;
    END IF;
    PERFORM public.require_team(p_team_id);
    RAISE EXCEPTION 'only an admin of the team may do this'
        USING
            ERRCODE = 'PT403',
            DETAIL = 'The user of this transaction is no admin of this team.',
            HINT = 'Ask an admin of the team, whom team_members names, or a super_admin.';
END;
$$;

-- Called before an admin of a team stops being one.
CREATE FUNCTION public.require_other_team_admin(p_team_id uuid, p_user_id uuid) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (
        SELECT 1
        FROM public.team_members AS m
        INNER JOIN public.users AS u ON m.user_id = u.id
        WHERE m.team_id = p_team_id AND m.user_id <> p_user_id AND m.role = 'admin' AND u.is_active
    ) THEN
        RAISE EXCEPTION 'a team keeps an admin who is active'
            USING
                ERRCODE = 'PT409',
                DETAIL = 'The team would be left without one.',
                HINT = CASE
                    WHEN EXISTS (
                        SELECT 1
                        FROM public.team_members AS m
                        WHERE m.team_id = p_team_id AND m.user_id <> p_user_id
                    ) THEN 'Make another member an admin first: set_team_role().'
                    ELSE 'Nobody else is in the team: disband_team() ends it.'
                END;
    END IF;
END;
$$;

-- A team's admin who is a team_admin may reach what its members have set: only who has such a reach
-- gives it away.
CREATE FUNCTION public.require_reach_to_give(p_user_id uuid, p_role text) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_role = 'admin' AND EXISTS (
        SELECT 1
        FROM public.users AS u
        WHERE u.id = p_user_id AND u.role = 'team_admin'
    ) AND EXISTS (
        SELECT 1
        FROM public.users AS u
        WHERE u.id = public.current_app_user_id() AND u.role = 'standard_user'
    ) THEN
        RAISE EXCEPTION 'only a team_admin or a super_admin makes a team_admin an admin of a team'
            USING
                ERRCODE = 'PT403',
                DETAIL = 'It lets a team_admin reach the configurations of the members.',
                HINT = 'Ask a super_admin, or an admin of the team who is a team_admin.';
    END IF;
END;
$$;

CREATE FUNCTION public.require_team_role(p_role text) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_role IS NULL OR p_role NOT IN ('member', 'admin') THEN
        RAISE EXCEPTION 'the role is not one of a team'
            USING
                ERRCODE = 'PT400',
                DETAIL = 'A team knows two roles: member and admin.',
                HINT = 'Pass member or admin as p_role.';
    END IF;
END;
$$;

GRANT EXECUTE ON FUNCTION public.require_team(uuid) TO portal_api;
GRANT EXECUTE ON FUNCTION public.require_team_admin(uuid) TO portal_api;
GRANT EXECUTE ON FUNCTION public.require_other_team_admin(uuid, uuid) TO portal_api;
GRANT EXECUTE ON FUNCTION public.require_reach_to_give(uuid, text) TO portal_api;
GRANT EXECUTE ON FUNCTION public.require_team_role(text) TO portal_api;

COMMENT ON FUNCTION public.require_team(uuid) IS
'For the functions of portal_api: returns the name of an active team that the user of the context sees.
Errors: PT401 no active user acts; PT404 no such team is seen; PT409 it is disbanded.';
COMMENT ON FUNCTION public.require_team_admin(uuid) IS
'For the functions of portal_api: takes hold of a team that the user of the context may change, and returns its name.
Errors: PT401 no active user acts; PT403 the user is no admin of it; PT404 no such team is seen; PT409 it is disbanded.';
COMMENT ON FUNCTION public.require_other_team_admin(uuid, uuid) IS
'For the functions of portal_api: refuses where p_user_id is the last active admin of a team.
Errors: PT409 nobody else who is active is an admin.';
COMMENT ON FUNCTION public.require_reach_to_give(uuid, text) IS
'For the functions of portal_api: refuses a standard_user who would make a team_admin an admin of a team.
Errors: PT403 the user has not the reach that this gives.';
COMMENT ON FUNCTION public.require_team_role(text) IS
'For the functions of portal_api: refuses what is no role of a team.
Errors: PT400 p_role is not member or admin.';
