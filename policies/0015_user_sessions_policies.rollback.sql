-- Drops the policies of user_sessions.

DROP POLICY user_sessions_isolation ON public.user_sessions;
DROP POLICY user_sessions_owner_access ON public.user_sessions;
