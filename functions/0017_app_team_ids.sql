-- The teams that the user of this transaction belongs to.
-- depends: 0005_access_scope 0012_team_members
--
-- The policy on team_members asks who is a member; asked of the table itself that would be endless.

CREATE FUNCTION public.app_team_ids() RETURNS uuid[]
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

GRANT EXECUTE ON FUNCTION public.app_team_ids() TO portal_app;

-- A new owner needs CREATE on the schema at the moment it is given the function, and not after.
GRANT CREATE ON SCHEMA public TO portal_api;
ALTER FUNCTION public.app_team_ids() OWNER TO portal_api;
REVOKE CREATE ON SCHEMA public FROM portal_api;

COMMENT ON FUNCTION public.app_team_ids() IS
'Ids of the teams of the active user of the context; an empty array for anyone else.';
