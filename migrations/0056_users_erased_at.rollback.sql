-- Drops the mark of erased users.
-- loses: which users were erased, and when

ALTER TABLE public.users DROP COLUMN erased_at;
