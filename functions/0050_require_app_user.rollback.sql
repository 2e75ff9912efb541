-- Drops the questions who acts.

DROP FUNCTION public.hold_app_user();
DROP FUNCTION public.require_super_admin();
DROP FUNCTION public.require_app_user();
