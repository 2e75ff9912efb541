-- Drops the cleanup of sessions.

DROP FUNCTION public.cleanup_expired_sessions();
