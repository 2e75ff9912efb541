-- A session that is refreshed goes on as a new row of the same family.
-- depends: 0009_user_sessions
--
-- The old row stays until it expires: a refresh token that comes back after its use was stolen, or
-- its successor was, and the whole family ends.

ALTER TABLE public.user_sessions ADD COLUMN family_id uuid;
ALTER TABLE public.user_sessions ADD COLUMN refreshed_at timestamptz;
ALTER TABLE public.user_sessions ADD COLUMN renewable_until timestamptz;

COMMENT ON COLUMN public.user_sessions.session_token IS
'What the device shows to be let in; the API''s functions keep its SHA-256 here, in hex.';
COMMENT ON COLUMN public.user_sessions.refresh_token IS
'What the device shows to get new tokens; the API''s functions keep its SHA-256 here, in hex.';
COMMENT ON COLUMN public.user_sessions.family_id IS
'The session that this one continues, the first of its family; NULL for the first itself.';
COMMENT ON COLUMN public.user_sessions.refreshed_at IS
'When its refresh token was used; NULL while it was not, and once its family has ended.';
COMMENT ON COLUMN public.user_sessions.renewable_until IS
'Until when the family can be refreshed; NULL: it cannot.';
