-- Who sees and changes which rows of users.
-- depends: 0004_users 0005_access_scope

CREATE POLICY users_owner_access ON public.users
    TO mcp_admin
    USING (true)
    WITH CHECK (true);

CREATE POLICY users_isolation ON public.users
    FOR SELECT TO portal_app
    USING (id = (SELECT public.app_active_user_id()));

CREATE POLICY users_self_update ON public.users
    FOR UPDATE TO portal_app
    USING (id = (SELECT public.app_active_user_id()));

CREATE POLICY users_admin_read ON public.users
    FOR SELECT TO portal_app
    USING (
        id BETWEEN (SELECT public.app_admin_from()) AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

CREATE POLICY users_api_read ON public.users
    FOR SELECT TO portal_api
    USING (true);

-- A first sign-in has no user to be the context. Whoever is let in starts at the bottom.
CREATE POLICY users_api_bootstrap ON public.users
    FOR INSERT TO portal_api
    WITH CHECK (role = 'standard_user');

CREATE POLICY users_runner_read ON public.users
    FOR SELECT TO portal_runner
    USING (true);

COMMENT ON POLICY users_owner_access ON public.users IS
'The owner is exempt from FORCE ROW LEVEL SECURITY, so that migrations see every row.';
COMMENT ON POLICY users_isolation ON public.users IS
'An active user sees themselves; nobody sees anyone without a context.';
COMMENT ON POLICY users_self_update ON public.users IS
'An active user changes their own row, in the columns granted.';
COMMENT ON POLICY users_admin_read ON public.users IS
'An active super_admin or team_admin sees every user.';
COMMENT ON POLICY users_api_read ON public.users IS
'The functions of portal_api look users up before there is a context.';
COMMENT ON POLICY users_api_bootstrap ON public.users IS
'The functions of portal_api let a new user in, as a standard_user.';
COMMENT ON POLICY users_runner_read ON public.users IS
'The runner sees who is active, to stop the containers of those who are not.';
