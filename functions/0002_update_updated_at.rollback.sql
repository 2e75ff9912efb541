-- Drops the trigger function that keeps updated_at true.

DROP FUNCTION public.update_updated_at();
