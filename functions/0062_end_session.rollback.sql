-- Drops signing out.

DROP FUNCTION public.end_all_sessions(uuid);
DROP FUNCTION public.end_session(uuid);
