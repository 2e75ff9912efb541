-- Drops the functions that say what a user reaches.

DROP FUNCTION public.app_admin_from();
DROP FUNCTION public.app_active_user_id();
