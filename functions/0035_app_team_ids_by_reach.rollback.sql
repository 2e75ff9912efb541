-- Brings back app_team_ids as it asked the function before app_reach.

CREATE OR REPLACE FUNCTION public.app_team_ids() RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN ARRAY(
        SELECT m.team_id
        FROM public.team_members AS m
        WHERE m.user_id = (SELECT public.app_active_user_id())
    );
END;
$$;
