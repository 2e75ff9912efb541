-- When somebody last asked for a configuration's container to be started anew.
-- depends: 0008_user_server_configs
--
-- The runner compares it with the value that it acted on last, and not with when the container
-- started: the request may be committed after a start that knew nothing of it. A trigger keeps the
-- time, so that each request has a value of its own.

ALTER TABLE public.user_server_configs ADD COLUMN restart_requested_at timestamptz;

GRANT UPDATE (restart_requested_at) ON public.user_server_configs TO portal_app;

CREATE FUNCTION public.restart_requested_now() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NEW.restart_requested_at IS NOT NULL THEN
        -- Not CURRENT_TIMESTAMP: what started since this transaction began is meant too.
        NEW.restart_requested_at := clock_timestamp();
    END IF;
    RETURN NEW;
END;
$$;

CREATE TRIGGER restart_requested_now
    BEFORE UPDATE OF restart_requested_at ON public.user_server_configs
    FOR EACH ROW EXECUTE FUNCTION public.restart_requested_now();

COMMENT ON COLUMN public.user_server_configs.restart_requested_at IS
'When a restart was last asked for; a container that was started for another value is to be started anew. Kept by a '
'trigger.';
COMMENT ON FUNCTION public.restart_requested_now() IS
'Puts the present time in place of any other into restart_requested_at.';
COMMENT ON TRIGGER restart_requested_now ON public.user_server_configs IS
'A restart is asked for now, and not in advance.';
