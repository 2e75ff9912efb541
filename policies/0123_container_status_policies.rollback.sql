-- Drops the policies; without one, nobody but a superuser sees a row.

DROP POLICY container_status_runner_update ON public.container_status;
DROP POLICY container_status_runner_insert ON public.container_status;
DROP POLICY container_status_runner_read ON public.container_status;
DROP POLICY container_status_admin_read ON public.container_status;
DROP POLICY container_status_isolation ON public.container_status;
DROP POLICY container_status_owner_access ON public.container_status;
