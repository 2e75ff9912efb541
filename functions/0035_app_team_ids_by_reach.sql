-- A user's teams are asked of app_reach as well; the two functions that it replaces go.
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

-- They stood between the policies and users, and were no service's to call.
-- squawk-ignore ban-drop-function
DROP FUNCTION public.app_admin_from();
-- squawk-ignore ban-drop-function
DROP FUNCTION public.app_active_user_id();
