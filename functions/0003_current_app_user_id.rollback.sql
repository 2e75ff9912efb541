-- Drops the reader of app.current_user_id.

DROP FUNCTION public.current_app_user_id();
