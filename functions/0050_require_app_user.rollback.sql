-- Drops the two questions who acts.

DROP FUNCTION public.require_super_admin();
DROP FUNCTION public.require_app_user();
