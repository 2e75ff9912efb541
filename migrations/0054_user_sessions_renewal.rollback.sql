-- Drops what ties refreshed sessions together.
-- loses: which sessions continue which; used refresh tokens are no longer told from ended ones

COMMENT ON COLUMN public.user_sessions.session_token IS 'What the device shows to be let in.';
COMMENT ON COLUMN public.user_sessions.refresh_token IS 'What the device shows to get a new token.';
ALTER TABLE public.user_sessions DROP COLUMN renewable_until;
ALTER TABLE public.user_sessions DROP COLUMN refreshed_at;
ALTER TABLE public.user_sessions DROP COLUMN family_id;
