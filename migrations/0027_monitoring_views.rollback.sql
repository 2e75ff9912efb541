-- Drops the monitoring views.

DROP VIEW public.monitor_audit_summary;
DROP VIEW public.monitor_container_status;
DROP VIEW public.monitor_active_sessions;
