-- A user's teams are asked of app_reach as well.
-- depends: 0017_app_team_ids 0033_app_reach 0034_reach

CREATE OR REPLACE FUNCTION public.app_team_ids() RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(
        SELECT m.team_id
        FROM public.team_members AS m
        WHERE m.user_id = (SELECT r.user_id FROM public.app_reach AS r)
    );
END;
$$;
