-- Which request for a restart a container was last started for.
-- depends: 0070_restart_requested_at 0122_container_status
--
-- A request has been served when its value is the one here, whenever the container was started: it
-- may be committed after a start that knew nothing of it.

ALTER TABLE public.container_status ADD COLUMN restart_served timestamptz;

GRANT SELECT (restart_served) ON public.container_status TO portal_app;
GRANT UPDATE (restart_served) ON public.container_status TO portal_runner;

COMMENT ON COLUMN public.container_status.restart_served IS
'The value of restart_requested_at that was acted on last; another one there is a restart that is still to come.';
