-- Drops the policies of audit_logs.

DROP POLICY audit_logs_api_insert ON public.audit_logs;
DROP POLICY audit_logs_owner_access ON public.audit_logs;
