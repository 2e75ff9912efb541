-- Drops the cleanup of audit entries.

DROP FUNCTION public.cleanup_old_audit_logs();
