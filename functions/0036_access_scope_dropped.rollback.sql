-- Brings back the two functions that app_reach replaced.

CREATE FUNCTION public.app_active_user_id() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT u.id
        FROM public.users AS u
        WHERE u.id = public.current_app_user_id() AND u.is_active
    );
END;
$$;

-- The lowest id that an admin reaches. The policies write BETWEEN this AND the highest UUID: for an
-- admin the range is everything, for anyone else the bound is NULL and the range holds nothing.
CREATE FUNCTION public.app_admin_from() RETURNS uuid
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT '00000000-0000-0000-0000-000000000000'::uuid
        FROM public.users AS u
        WHERE
            u.id = public.current_app_user_id()
            AND u.is_active
            AND u.role IN ('super_admin', 'team_admin')
    );
END;
$$;

GRANT EXECUTE ON FUNCTION public.app_active_user_id() TO portal_app;
GRANT EXECUTE ON FUNCTION public.app_admin_from() TO portal_app;

-- A new owner needs CREATE on the schema at the moment it is given the function, and not after.
GRANT CREATE ON SCHEMA public TO portal_api;
ALTER FUNCTION public.app_active_user_id() OWNER TO portal_api;
ALTER FUNCTION public.app_admin_from() OWNER TO portal_api;
REVOKE CREATE ON SCHEMA public FROM portal_api;

COMMENT ON FUNCTION public.app_active_user_id() IS
'The user named by app.current_user_id if there is one and it is active, else NULL.';
COMMENT ON FUNCTION public.app_admin_from() IS
'The lowest UUID if the user of the context is an active super_admin or team_admin, else NULL.';
