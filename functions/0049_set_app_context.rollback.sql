-- Drops the function; a bare SET LOCAL app.current_user_id remains.

DROP FUNCTION public.set_app_context(uuid, inet, text, text);
