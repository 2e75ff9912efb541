-- Who sees the runner's notes on a container: its user, their admins, and the runner, who writes.
-- depends: 0014_user_server_configs_policies 0033_app_reach 0122_container_status

CREATE POLICY container_status_owner_access ON public.container_status
    TO mcp_admin
    USING (true)
    WITH CHECK (true);

CREATE POLICY container_status_isolation ON public.container_status
    FOR SELECT TO portal_app
    USING (user_id = ANY ((SELECT r.user_ids FROM public.app_reach AS r)::uuid[]));

CREATE POLICY container_status_admin_read ON public.container_status
    FOR SELECT TO portal_app
    USING (
        user_id BETWEEN (SELECT r.everyone_from FROM public.app_reach AS r)
        AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

CREATE POLICY container_status_runner_read ON public.container_status
    FOR SELECT TO portal_runner
    USING (true);

CREATE POLICY container_status_runner_insert ON public.container_status
    FOR INSERT TO portal_runner
    WITH CHECK (EXISTS (SELECT 1 FROM public.user_server_configs AS c WHERE c.id = config_id));

CREATE POLICY container_status_runner_update ON public.container_status
    FOR UPDATE TO portal_runner
    USING (true);

COMMENT ON POLICY container_status_owner_access ON public.container_status IS
'The owner is exempt from FORCE ROW LEVEL SECURITY, so that migrations see every row.';
COMMENT ON POLICY container_status_isolation ON public.container_status IS
'An active user sees what the runner says of their own containers, a narrowed team_admin that of their teams'' members too.';
COMMENT ON POLICY container_status_admin_read ON public.container_status IS
'An active super_admin sees what the runner says of every container, as does a team_admin who is not narrowed.';
COMMENT ON POLICY container_status_runner_read ON public.container_status IS
'The runner sees what is known of every container.';
COMMENT ON POLICY container_status_runner_insert ON public.container_status IS
'The runner takes notes on every configuration; a trigger says whose they are.';
COMMENT ON POLICY container_status_runner_update ON public.container_status IS
'The runner writes what it knows of every container, in the columns granted.';
