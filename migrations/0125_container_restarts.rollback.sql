-- Drops the column.
-- loses: which requests for a restart were served; the runner serves each once more

ALTER TABLE public.container_status DROP COLUMN restart_served;
