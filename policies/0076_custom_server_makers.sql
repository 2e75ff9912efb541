-- Custom servers are added and changed by whom the setting custom_servers allows.
-- depends: 0013_mcp_servers_policies 0075_app_may_add_servers
--
-- Restrictive: it takes from what mcp_servers_isolation gives. Whoever may no longer add servers
-- still sees and removes theirs; to change one to another image is to add another.

CREATE POLICY mcp_servers_makers_insert ON public.mcp_servers
    AS RESTRICTIVE FOR INSERT TO portal_app
    WITH CHECK ((SELECT public.app_may_add_servers()));

CREATE POLICY mcp_servers_makers_update ON public.mcp_servers
    AS RESTRICTIVE FOR UPDATE TO portal_app
    WITH CHECK ((SELECT public.app_may_add_servers()));

COMMENT ON POLICY mcp_servers_makers_insert ON public.mcp_servers IS
'A custom server is added by whom the setting custom_servers allows.';
COMMENT ON POLICY mcp_servers_makers_update ON public.mcp_servers IS
'A custom server is changed by whom the setting custom_servers allows to add one.';
