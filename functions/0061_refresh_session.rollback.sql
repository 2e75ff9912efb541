-- Drops refreshing sessions.

DROP FUNCTION public.refresh_session(text, inet, text);
DROP FUNCTION public.end_sessions(uuid, uuid);
