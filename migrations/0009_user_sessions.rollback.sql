-- Drops the sessions.
-- loses: every session: everyone has to sign in again

DROP TABLE public.user_sessions;
