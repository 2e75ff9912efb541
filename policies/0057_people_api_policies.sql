-- What the functions of portal_api may do to users and to what is theirs.
-- depends: 0014_user_server_configs_policies 0015_user_sessions_policies 0034_reach
-- depends: 0054_user_sessions_renewal 0056_users_erased_at
--
-- They check the caller themselves; this is the second line. A function with a hole in it still
-- changes no user but its caller where that is no admin, opens no session for another, and deletes
-- nothing of anyone who was not erased before.

GRANT
    SELECT (azure_oid, email, display_name, metadata, erased_at),
    UPDATE (azure_oid, email, display_name, metadata, role, is_active, last_login_at, erased_at)
    ON public.users TO portal_api;
GRANT
    SELECT (
        id, user_id, session_token, refresh_token, last_activity, expires_at, is_active,
        family_id, refreshed_at, renewable_until
    ),
    INSERT (
        id, user_id, session_token, refresh_token, ip_address, user_agent, expires_at,
        family_id, renewable_until
    ),
    UPDATE (last_activity, expires_at, is_active, refreshed_at),
    DELETE
    ON public.user_sessions TO portal_api;
GRANT SELECT (id, user_id), DELETE ON public.user_server_configs TO portal_api;
GRANT SELECT (id, catalog_type, created_by), DELETE ON public.mcp_servers TO portal_api;
GRANT SELECT (id), DELETE ON public.team_members TO portal_api;

CREATE POLICY users_api_update ON public.users
    FOR UPDATE TO portal_api
    USING (id = (SELECT public.current_app_user_id()) AND erased_at IS NULL)
    WITH CHECK (id = (SELECT public.current_app_user_id()));

CREATE POLICY users_api_admin_update ON public.users
    FOR UPDATE TO portal_api
    USING (
        id BETWEEN (SELECT r.everyone_from FROM public.app_reach AS r)
        AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

-- Whoever waits to change their own row while it is erased finds it so: of what a policy says, only
-- the row's own columns are looked at again after the wait.
CREATE POLICY users_erased_stay ON public.users
    AS RESTRICTIVE FOR UPDATE TO portal_app
    USING (erased_at IS NULL);

-- Tokens come before there is a context.
CREATE POLICY user_sessions_api_read ON public.user_sessions
    FOR SELECT TO portal_api
    USING (true);

CREATE POLICY user_sessions_api_insert ON public.user_sessions
    FOR INSERT TO portal_api
    WITH CHECK (user_id = public.current_app_user_id());

CREATE POLICY user_sessions_api_update ON public.user_sessions
    FOR UPDATE TO portal_api
    USING (user_id = (SELECT public.current_app_user_id()));

CREATE POLICY user_sessions_api_admin_update ON public.user_sessions
    FOR UPDATE TO portal_api
    USING (
        user_id BETWEEN (SELECT r.everyone_from FROM public.app_reach AS r)
        AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

CREATE POLICY user_sessions_api_erase ON public.user_sessions
    FOR DELETE TO portal_api
    USING (
        EXISTS (SELECT 1 FROM public.users AS u WHERE u.id = user_id AND u.erased_at IS NOT NULL)
    );

CREATE POLICY user_server_configs_api_erase_read ON public.user_server_configs
    FOR SELECT TO portal_api
    USING (
        EXISTS (SELECT 1 FROM public.users AS u WHERE u.id = user_id AND u.erased_at IS NOT NULL)
    );

CREATE POLICY user_server_configs_api_erase ON public.user_server_configs
    FOR DELETE TO portal_api
    USING (
        EXISTS (SELECT 1 FROM public.users AS u WHERE u.id = user_id AND u.erased_at IS NOT NULL)
    );

CREATE POLICY mcp_servers_api_erase_read ON public.mcp_servers
    FOR SELECT TO portal_api
    USING (
        catalog_type = 'custom'
        AND EXISTS (
            SELECT 1 FROM public.users AS u WHERE u.id = created_by AND u.erased_at IS NOT NULL
        )
    );

CREATE POLICY mcp_servers_api_erase ON public.mcp_servers
    FOR DELETE TO portal_api
    USING (
        catalog_type = 'custom'
        AND EXISTS (
            SELECT 1 FROM public.users AS u WHERE u.id = created_by AND u.erased_at IS NOT NULL
        )
    );

CREATE POLICY team_members_api_erase ON public.team_members
    FOR DELETE TO portal_api
    USING (
        EXISTS (SELECT 1 FROM public.users AS u WHERE u.id = user_id AND u.erased_at IS NOT NULL)
    );

COMMENT ON POLICY users_api_update ON public.users IS
'The functions of portal_api change the user of the context, but for what was erased.';
COMMENT ON POLICY users_erased_stay ON public.users IS
'What was erased of a user stays blank, even for one who waited to write it.';
COMMENT ON POLICY users_api_admin_update ON public.users IS
'The functions of portal_api change any user for an admin; they let a super_admin alone do so.';
COMMENT ON POLICY user_sessions_api_read ON public.user_sessions IS
'The functions of portal_api look tokens up before there is a context.';
COMMENT ON POLICY user_sessions_api_insert ON public.user_sessions IS
'The functions of portal_api open sessions for the user of the context alone.';
COMMENT ON POLICY user_sessions_api_update ON public.user_sessions IS
'The functions of portal_api refresh and end sessions of the user of the context.';
COMMENT ON POLICY user_sessions_api_admin_update ON public.user_sessions IS
'The functions of portal_api end any session for an admin; they let a super_admin alone do so.';
COMMENT ON POLICY user_sessions_api_erase ON public.user_sessions IS
'The functions of portal_api delete sessions of an erased user alone.';
COMMENT ON POLICY user_server_configs_api_erase_read ON public.user_server_configs IS
'The functions of portal_api see configurations of an erased user alone, to delete them.';
COMMENT ON POLICY user_server_configs_api_erase ON public.user_server_configs IS
'The functions of portal_api delete configurations of an erased user alone.';
COMMENT ON POLICY mcp_servers_api_erase_read ON public.mcp_servers IS
'The functions of portal_api see custom servers of an erased user alone, to delete them.';
COMMENT ON POLICY mcp_servers_api_erase ON public.mcp_servers IS
'The functions of portal_api delete custom servers of an erased user alone.';
COMMENT ON POLICY team_members_api_erase ON public.team_members IS
'The functions of portal_api delete memberships of an erased user alone.';
