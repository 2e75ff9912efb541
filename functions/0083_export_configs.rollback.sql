-- Drops the function.

DROP FUNCTION public.export_configs(jsonb);
