-- Drops the table and its trigger's function.
-- loses: why containers failed, when they are tried again, and which runner works on them

DROP TABLE public.container_status;
DROP FUNCTION public.container_status_user();
