-- When a user's personal data was erased; the row stays, for the audit trail points at it.
-- depends: 0004_users

ALTER TABLE public.users ADD COLUMN erased_at timestamptz;

COMMENT ON COLUMN public.users.erased_at IS
'When the user''s personal data was erased; NULL for everyone else.';
