-- Who sees and changes which servers: the predefined are everyone's, a custom one its maker's.
-- depends: 0005_access_scope 0007_mcp_servers
--
-- The catalog too needs a context: a forgotten one is noticed at once, and a deactivated user sees
-- nothing.

CREATE POLICY mcp_servers_owner_access ON public.mcp_servers
    TO mcp_admin
    USING (true)
    WITH CHECK (true);

CREATE POLICY mcp_servers_catalog_read ON public.mcp_servers
    FOR SELECT TO portal_app
    USING (catalog_type = 'predefined' AND (SELECT public.app_active_user_id()) IS NOT NULL);

CREATE POLICY mcp_servers_isolation ON public.mcp_servers
    TO portal_app
    USING (catalog_type = 'custom' AND created_by = (SELECT public.app_active_user_id()));

CREATE POLICY mcp_servers_admin_read ON public.mcp_servers
    FOR SELECT TO portal_app
    USING (
        id BETWEEN (SELECT public.app_admin_from()) AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

CREATE POLICY mcp_servers_runner_read ON public.mcp_servers
    FOR SELECT TO portal_runner
    USING (true);

COMMENT ON POLICY mcp_servers_owner_access ON public.mcp_servers IS
'The owner is exempt from FORCE ROW LEVEL SECURITY; the predefined catalog is the owner''s to change.';
COMMENT ON POLICY mcp_servers_catalog_read ON public.mcp_servers IS
'Any active user sees the predefined servers.';
COMMENT ON POLICY mcp_servers_isolation ON public.mcp_servers IS
'An active user sees, adds, changes and removes their own custom servers.';
COMMENT ON POLICY mcp_servers_admin_read ON public.mcp_servers IS
'An active super_admin or team_admin sees every server.';
COMMENT ON POLICY mcp_servers_runner_read ON public.mcp_servers IS
'The runner sees every server, to know the image to run.';
