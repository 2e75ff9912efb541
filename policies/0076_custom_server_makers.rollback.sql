-- Drops the policies: every active user adds custom servers.

DROP POLICY mcp_servers_makers_update ON public.mcp_servers;
DROP POLICY mcp_servers_makers_insert ON public.mcp_servers;
