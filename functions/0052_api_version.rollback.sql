-- Drops the version.

DROP FUNCTION public.api_version();
