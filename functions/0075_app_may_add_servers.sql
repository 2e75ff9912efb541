-- Whether the user of the context may add a custom server, as the setting custom_servers says.
-- depends: 0006_users_policies 0050_require_app_user 0074_custom_servers_setting
--
-- It belongs to portal_api, which reads the settings; services do not.

CREATE FUNCTION public.app_may_add_servers() RETURNS boolean
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Without the row nobody may: what is missing opens nothing.
    RETURN EXISTS (
        SELECT 1
        FROM public.users AS u
        INNER JOIN public.settings AS s
            ON s.name = 'custom_servers'
            AND (
                s.value = 'everyone'
                OR s.value = 'admins' AND u.role IN ('super_admin', 'team_admin')
            )
        WHERE u.id = public.current_app_user_id() AND u.is_active
    );
END;
$$;

GRANT EXECUTE ON FUNCTION public.app_may_add_servers() TO portal_app;

-- A new owner needs CREATE on the schema at the moment it is given the function, and not after.
GRANT CREATE ON SCHEMA public TO portal_api;
ALTER FUNCTION public.app_may_add_servers() OWNER TO portal_api;
REVOKE CREATE ON SCHEMA public FROM portal_api;

COMMENT ON FUNCTION public.app_may_add_servers() IS
'Whether the active user of the context may add custom servers and change their own; the owner decides by the setting '
'custom_servers.
Example: SELECT app_may_add_servers();';
