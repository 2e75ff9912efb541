-- What the runner knows of each configuration's container beside its state, and who sees to it.
-- depends: 0008_user_server_configs
--
-- Beside the row and not in it: a runner that renews a lease must not wait for a user who edits,
-- and services that read user_server_configs keep the columns that they know.

CREATE TABLE public.container_status (
    config_id         uuid    NOT NULL,
    user_id           uuid,
    reason            varchar(50),
    message           text,
    restart_count     bigint  NOT NULL DEFAULT 0,
    next_retry_at     timestamptz,
    generation_wanted varchar(64),
    generation_seen   varchar(64),
    lease_owner       varchar(255),
    lease_until       timestamptz,
    fencing_token     bigint  NOT NULL DEFAULT 1,

    CONSTRAINT container_status_pkey PRIMARY KEY (config_id),
    CONSTRAINT container_status_config_id_fkey FOREIGN KEY (config_id)
        REFERENCES public.user_server_configs (id) ON DELETE CASCADE,
    CONSTRAINT valid_message_length CHECK (length(message) <= 1000),
    CONSTRAINT valid_lease CHECK ((lease_owner IS NULL) = (lease_until IS NULL))
);

-- The policies ask by it.
CREATE INDEX idx_container_status_user_id ON public.container_status (user_id);

-- Whose it is decides who reads it, so it is whose the configuration is.
CREATE FUNCTION public.container_status_user() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    SELECT c.user_id INTO NEW.user_id
    FROM public.user_server_configs AS c
    WHERE c.id = NEW.config_id;
    RETURN NEW;
END;
$$;

CREATE TRIGGER container_status_user
    BEFORE INSERT ON public.container_status
    FOR EACH ROW EXECUTE FUNCTION public.container_status_user();

ALTER TABLE public.container_status ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.container_status FORCE ROW LEVEL SECURITY;

GRANT SELECT (
    config_id, user_id, reason, message, restart_count, next_retry_at, generation_wanted,
    generation_seen
) ON public.container_status TO portal_app;
GRANT
    SELECT,
    INSERT (config_id, lease_owner, lease_until),
    UPDATE (
        reason, message, restart_count, next_retry_at, generation_wanted, generation_seen,
        lease_owner, lease_until, fencing_token
    )
    ON public.container_status TO portal_runner;

COMMENT ON TABLE  public.container_status                   IS 'What the runner knows of a configuration''s container, beside its state.';
COMMENT ON COLUMN public.container_status.config_id         IS 'The configuration.';
COMMENT ON COLUMN public.container_status.user_id           IS 'Whose configuration it is.';
COMMENT ON COLUMN public.container_status.reason            IS 'Why the state is what it is, in a word, such as ImagePullFailed; NULL where nothing is wrong.';
COMMENT ON COLUMN public.container_status.message           IS 'The same in a sentence, without secrets.';
COMMENT ON COLUMN public.container_status.restart_count     IS 'Failures in a row; 0 again after a stable minute.';
COMMENT ON COLUMN public.container_status.next_retry_at     IS 'When the runner tries again; NULL where it does not, or need not.';
COMMENT ON COLUMN public.container_status.generation_wanted IS 'A digest of the settings that the user wants to run.';
COMMENT ON COLUMN public.container_status.generation_seen   IS 'The same of the settings that run.';
COMMENT ON COLUMN public.container_status.lease_owner       IS 'The runner that works on it; NULL for none.';
COMMENT ON COLUMN public.container_status.lease_until       IS 'When another runner may take the work over.';
COMMENT ON COLUMN public.container_status.fencing_token     IS 'Counts who took the work: what an earlier holder writes is refused.';
COMMENT ON FUNCTION public.container_status_user() IS
'Trigger: puts the user of the configuration into user_id, whatever was given.';
COMMENT ON TRIGGER container_status_user ON public.container_status IS
'A note is on whose configuration it is on.';
