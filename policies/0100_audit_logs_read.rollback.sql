-- Lets the functions of portal_api add to the trail alone.

DROP POLICY audit_logs_api_nameless_read ON public.audit_logs;
DROP POLICY audit_logs_api_admin_read ON public.audit_logs;
DROP POLICY audit_logs_api_read ON public.audit_logs;
REVOKE SELECT ON public.audit_logs FROM portal_api;
