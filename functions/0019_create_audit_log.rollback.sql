-- Drops the services' way to write the audit trail.

DROP FUNCTION public.create_audit_log(uuid, varchar, varchar, uuid, jsonb, inet, text);
