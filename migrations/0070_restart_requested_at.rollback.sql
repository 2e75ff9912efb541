-- Drops the column, its trigger and its function.
-- loses: which restarts were asked for

DROP TRIGGER restart_requested_now ON public.user_server_configs;
DROP FUNCTION public.restart_requested_now();
ALTER TABLE public.user_server_configs DROP COLUMN restart_requested_at;
