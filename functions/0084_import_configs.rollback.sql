-- Drops the functions.

DROP FUNCTION public.import_configs(jsonb, boolean, boolean);
DROP FUNCTION public.config_entry_fault(jsonb);
