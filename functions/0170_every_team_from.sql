-- A super_admin's teams are a range, not a list: asking whether one is led reads no table whole.
-- depends: 0034_reach 0093_app_led_team_ids 0094_team_changes 0095_require_team_admin
--
-- app_led_team_ids() gave a super_admin the id of every team there is, in each statement that asks.
-- As everyone_from does for users, app_every_team_from() now begins a range that holds all ids.

CREATE FUNCTION public.app_every_team_from() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT '00000000-0000-0000-0000-000000000000'::uuid
        FROM public.users AS u
        WHERE
            u.id = (SELECT r.user_id FROM public.app_reach AS r)
            AND u.role = 'super_admin'
    );
END;
$$;

GRANT EXECUTE ON FUNCTION public.app_every_team_from() TO portal_app;

-- A new owner needs CREATE on the schema at the moment it is given the function, and not after.
GRANT CREATE ON SCHEMA public TO portal_api;
ALTER FUNCTION public.app_every_team_from() OWNER TO portal_api;
REVOKE CREATE ON SCHEMA public FROM portal_api;

COMMENT ON FUNCTION public.app_every_team_from() IS
'The lowest UUID for a super_admin, who leads every team, else NULL; policies write BETWEEN this AND the highest.
Example: SELECT app_every_team_from();';

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
    );
END;
$$;

COMMENT ON FUNCTION public.app_led_team_ids() IS
'Ids of the active teams that the user of the context is an admin of, an empty array for anyone else. A super_admin '
'may change every team besides.
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
    IF FOUND AND (
        public.app_every_team_from() IS NOT NULL
        OR p_team_id = ANY (public.app_led_team_ids())
    ) THEN
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

ALTER POLICY team_invitations_led_read ON public.team_invitations
    USING (
        team_id = ANY ((SELECT public.app_led_team_ids())::uuid[])
        OR team_id BETWEEN (SELECT public.app_every_team_from())
        AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

ALTER POLICY team_invitations_api_read ON public.team_invitations
    USING (
        user_id = (SELECT r.user_id FROM public.app_reach AS r)
        OR team_id = ANY ((SELECT public.app_led_team_ids())::uuid[])
        OR team_id BETWEEN (SELECT public.app_every_team_from())
        AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

ALTER POLICY team_invitations_api_invite ON public.team_invitations
    WITH CHECK (
        invited_by = (SELECT r.user_id FROM public.app_reach AS r)
        AND (
            team_id = ANY ((SELECT public.app_led_team_ids())::uuid[])
            OR team_id BETWEEN (SELECT public.app_every_team_from())
            AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
        )
    );

ALTER POLICY team_invitations_api_end ON public.team_invitations
    USING (
        user_id = (SELECT r.user_id FROM public.app_reach AS r)
        OR team_id = ANY ((SELECT public.app_led_team_ids())::uuid[])
        OR team_id BETWEEN (SELECT public.app_every_team_from())
        AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

ALTER POLICY teams_api_update ON public.teams
    USING (
        id = ANY ((SELECT public.app_led_team_ids())::uuid[])
        OR id BETWEEN (SELECT public.app_every_team_from())
        AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

ALTER POLICY team_members_api_update ON public.team_members
    USING (
        team_id = ANY ((SELECT public.app_led_team_ids())::uuid[])
        OR team_id BETWEEN (SELECT public.app_every_team_from())
        AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

ALTER POLICY team_members_api_leave ON public.team_members
    USING (
        user_id = (SELECT r.user_id FROM public.app_reach AS r)
        OR team_id = ANY ((SELECT public.app_led_team_ids())::uuid[])
        OR team_id BETWEEN (SELECT public.app_every_team_from())
        AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );
