-- Drops the index of families.
-- transactional: false

DROP INDEX CONCURRENTLY public.idx_sessions_family_id;
