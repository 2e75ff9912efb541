-- Drops the question.

DROP FUNCTION public.app_may_add_servers();
