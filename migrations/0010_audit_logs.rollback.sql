-- Drops the audit trail with its partitions.
-- loses: the whole audit trail

DROP TABLE public.audit_logs;
