-- Makes a super_admin's teams a list again.

ALTER POLICY team_invitations_led_read ON public.team_invitations
    USING (team_id = ANY ((SELECT public.app_led_team_ids())::uuid[]));

ALTER POLICY team_invitations_api_read ON public.team_invitations
    USING (
        user_id = (SELECT r.user_id FROM public.app_reach AS r)
        OR team_id = ANY ((SELECT public.app_led_team_ids())::uuid[])
    );

ALTER POLICY team_invitations_api_invite ON public.team_invitations
    WITH CHECK (
        invited_by = (SELECT r.user_id FROM public.app_reach AS r)
        AND team_id = ANY ((SELECT public.app_led_team_ids())::uuid[])
    );

ALTER POLICY team_invitations_api_end ON public.team_invitations
    USING (
        user_id = (SELECT r.user_id FROM public.app_reach AS r)
        OR team_id = ANY ((SELECT public.app_led_team_ids())::uuid[])
    );

ALTER POLICY teams_api_update ON public.teams
    USING (id = ANY ((SELECT public.app_led_team_ids())::uuid[]));

ALTER POLICY team_members_api_update ON public.team_members
    USING (team_id = ANY ((SELECT public.app_led_team_ids())::uuid[]));

ALTER POLICY team_members_api_leave ON public.team_members
    USING (
        user_id = (SELECT r.user_id FROM public.app_reach AS r)
        OR team_id = ANY ((SELECT public.app_led_team_ids())::uuid[])
    );

CREATE OR REPLACE FUNCTION public.app_led_team_ids() RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(
        SELECT t.id
        FROM public.team_members AS m
        INNER JOIN public.teams AS t ON m.team_id = t.id
        WHERE
            m.user_id = (SELECT r.user_id FROM public.app_reach AS r)
            AND m.role = 'admin'
            AND t.is_active
        UNION
        SELECT t.id
        FROM public.users AS u
        CROSS JOIN public.teams AS t
        WHERE
            u.id = (SELECT r.user_id FROM public.app_reach AS r)
            AND u.role = 'super_admin'
            AND t.is_active
    );
END;
$$;

COMMENT ON FUNCTION public.app_led_team_ids() IS
'Ids of the active teams whose members the user of the context may change: those they are an admin of, all for a '
'super_admin, an empty array for anyone else.
Example: SELECT app_led_team_ids();';

CREATE OR REPLACE FUNCTION public.require_team_admin(p_team_id uuid) RETURNS text
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

DROP FUNCTION public.app_every_team_from();
