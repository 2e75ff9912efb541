-- Drops the policies of mcp_servers.

DROP POLICY mcp_servers_runner_read ON public.mcp_servers;
DROP POLICY mcp_servers_admin_read ON public.mcp_servers;
DROP POLICY mcp_servers_isolation ON public.mcp_servers;
DROP POLICY mcp_servers_catalog_read ON public.mcp_servers;
DROP POLICY mcp_servers_owner_access ON public.mcp_servers;
