-- Drops the function that refuses to change the trail.

DROP FUNCTION public.refuse_audit_change();
