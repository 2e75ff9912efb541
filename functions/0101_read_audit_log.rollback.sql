-- Drops the reader of the trail.

DROP FUNCTION public.read_audit_log(
    uuid, text, text, uuid, timestamptz, timestamptz, timestamptz, uuid, integer
);
