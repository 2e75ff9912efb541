-- Finds the sessions of a family.
-- depends: 0054_user_sessions_renewal
-- transactional: false

CREATE INDEX CONCURRENTLY idx_sessions_family_id ON public.user_sessions (family_id)
WHERE family_id IS NOT NULL;
