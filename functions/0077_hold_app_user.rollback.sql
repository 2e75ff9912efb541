-- Drops the function.

DROP FUNCTION public.hold_app_user();
