-- Takes the settings of retention away.
-- loses: how long the trail and the history of jobs are kept, where that was changed

REVOKE SELECT ON public.settings FROM portal_maintenance;
DELETE FROM public.settings WHERE name IN ('audit_retention', 'audit_partitions', 'job_history');
ALTER TABLE public.settings DROP CONSTRAINT valid_audit_partitions;
ALTER TABLE public.settings DROP CONSTRAINT valid_retention;
