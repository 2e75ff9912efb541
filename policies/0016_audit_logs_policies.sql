-- Who writes the audit trail: the functions of portal_api, in the name of the context's user.
-- depends: 0003_current_app_user_id 0010_audit_logs

CREATE POLICY audit_logs_owner_access ON public.audit_logs
    TO mcp_admin
    USING (true)
    WITH CHECK (true);

CREATE POLICY audit_logs_api_insert ON public.audit_logs
    FOR INSERT TO portal_api
    WITH CHECK (user_id IS NOT DISTINCT FROM public.current_app_user_id());

COMMENT ON POLICY audit_logs_owner_access ON public.audit_logs IS
'The owner is exempt from FORCE ROW LEVEL SECURITY, so that retention sees every row.';
COMMENT ON POLICY audit_logs_api_insert ON public.audit_logs IS
'An entry names the user of the context; without a context it names nobody.';
