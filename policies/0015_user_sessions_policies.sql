-- Who sees and changes which rows of user_sessions: the user they belong to, and no admin.
-- depends: 0005_access_scope 0009_user_sessions

CREATE POLICY user_sessions_owner_access ON public.user_sessions
    TO mcp_admin
    USING (true)
    WITH CHECK (true);

CREATE POLICY user_sessions_isolation ON public.user_sessions
    TO portal_app
    USING (user_id = (SELECT public.app_active_user_id()));

COMMENT ON POLICY user_sessions_owner_access ON public.user_sessions IS
'The owner is exempt from FORCE ROW LEVEL SECURITY, so that migrations and the cleanup see every row.';
COMMENT ON POLICY user_sessions_isolation ON public.user_sessions IS
'An active user sees, opens, changes and ends their own sessions alone.';
