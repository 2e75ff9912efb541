-- Drops what the runner claims and writes with.

DROP FUNCTION public.record_container_state(
    uuid, bigint, text, text, text, text, bigint, interval, text, text
);
DROP FUNCTION public.claim_container(uuid, text, interval);
DROP FUNCTION public.audit_container(text, uuid, jsonb);
