-- Which teams the user of this transaction may change, and into which they are invited.
-- depends: 0033_app_reach 0034_reach 0092_team_invitations
--
-- The policies on team_members, teams and team_invitations ask them. Asked of the tables themselves
-- that would be endless, so they run as portal_api, as app_team_ids does.

CREATE FUNCTION public.app_led_team_ids() RETURNS uuid[]
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

CREATE FUNCTION public.app_invited_team_ids() RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(
        SELECT i.team_id
        FROM public.team_invitations AS i
        WHERE i.user_id = (SELECT r.user_id FROM public.app_reach AS r)
    );
END;
$$;

GRANT EXECUTE ON FUNCTION public.app_led_team_ids() TO portal_app;
GRANT EXECUTE ON FUNCTION public.app_invited_team_ids() TO portal_app;

-- A new owner needs CREATE on the schema at the moment it is given the function, and not after.
GRANT CREATE ON SCHEMA public TO portal_api;
ALTER FUNCTION public.app_led_team_ids() OWNER TO portal_api;
ALTER FUNCTION public.app_invited_team_ids() OWNER TO portal_api;
REVOKE CREATE ON SCHEMA public FROM portal_api;

COMMENT ON FUNCTION public.app_led_team_ids() IS
'Ids of the active teams whose members the user of the context may change: those they are an admin of, all for a '
'super_admin, an empty array for anyone else.
Example: SELECT app_led_team_ids();';
COMMENT ON FUNCTION public.app_invited_team_ids() IS
'Ids of the teams that the active user of the context is invited into; an empty array for anyone else.
Example: SELECT app_invited_team_ids();';
