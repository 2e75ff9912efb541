-- Who sees and changes which rows of user_server_configs.
-- depends: 0005_access_scope 0008_user_server_configs 0013_mcp_servers_policies
--
-- The spec's two policies in a form that an index answers: the two are OR-ed, and "is mine OR I am
-- an admin" reads the whole table for a user who owns ten rows of it, while "is mine OR lies
-- between two bounds" reads ten. team_admin sees every configuration, as the spec says.

CREATE POLICY user_server_configs_owner_access ON public.user_server_configs
    TO mcp_admin
    USING (true)
    WITH CHECK (true);

CREATE POLICY user_configs_isolation ON public.user_server_configs
    TO portal_app
    USING (user_id = (SELECT public.app_active_user_id()));

CREATE POLICY admin_configs_access ON public.user_server_configs
    TO portal_app
    USING (
        user_id BETWEEN (SELECT public.app_admin_from()) AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

-- A foreign key looks past RLS: without this, whoever learns the id of another's custom server runs
-- it.
CREATE POLICY user_server_configs_visible_server ON public.user_server_configs
    AS RESTRICTIVE FOR INSERT TO portal_app
    WITH CHECK (EXISTS (SELECT 1 FROM public.mcp_servers AS s WHERE s.id = server_id));

CREATE POLICY user_server_configs_runner_read ON public.user_server_configs
    FOR SELECT TO portal_runner
    USING (true);

CREATE POLICY user_server_configs_runner_update ON public.user_server_configs
    FOR UPDATE TO portal_runner
    USING (true);

COMMENT ON POLICY user_server_configs_owner_access ON public.user_server_configs IS
'The owner is exempt from FORCE ROW LEVEL SECURITY, so that migrations see every row.';
COMMENT ON POLICY user_configs_isolation ON public.user_server_configs IS
'An active user sees and changes their own configurations alone.';
COMMENT ON POLICY admin_configs_access ON public.user_server_configs IS
'An active super_admin or team_admin sees and changes every configuration.';
COMMENT ON POLICY user_server_configs_visible_server ON public.user_server_configs IS
'A configuration is made only for a server that whoever makes it can see.';
COMMENT ON POLICY user_server_configs_runner_read ON public.user_server_configs IS
'The runner sees what every user wants to run.';
COMMENT ON POLICY user_server_configs_runner_update ON public.user_server_configs IS
'The runner writes the state of every container, in the columns granted.';
