-- Drops the catalog of MCP servers.
-- loses: every server of the catalog, custom ones too

DROP TABLE public.mcp_servers;
