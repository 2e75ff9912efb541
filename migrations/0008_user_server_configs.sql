-- What each user has set for each server, and the state of the container that runs it.
-- depends: 0002_update_updated_at 0004_users 0007_mcp_servers
--
-- Two writers, two sets of columns: a user's service writes what is wanted, the runner what is.

CREATE TABLE public.user_server_configs (
    id                uuid    NOT NULL DEFAULT public.uuid_generate_v4(),
    user_id           uuid    NOT NULL,
    server_id         uuid    NOT NULL,
    enabled           boolean          DEFAULT false,
    container_id      varchar(255),
    container_state   varchar(50),
    encrypted_config  text,
    config_metadata   jsonb            DEFAULT '{}',
    last_state_change timestamptz,
    created_at        timestamptz      DEFAULT CURRENT_TIMESTAMP,
    updated_at        timestamptz      DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT user_server_configs_pkey PRIMARY KEY (id),
    CONSTRAINT user_server_configs_user_id_fkey FOREIGN KEY (user_id)
        REFERENCES public.users (id) ON DELETE CASCADE,
    CONSTRAINT user_server_configs_server_id_fkey FOREIGN KEY (server_id)
        REFERENCES public.mcp_servers (id) ON DELETE CASCADE,
    CONSTRAINT unique_user_server UNIQUE (user_id, server_id),
    CONSTRAINT valid_container_state CHECK (
        container_state = ANY (
            ARRAY['pending'::text, 'creating', 'running', 'stopping', 'stopped', 'error']
        )
    )
);

CREATE INDEX idx_user_configs_user_id ON public.user_server_configs (user_id);
CREATE INDEX idx_user_configs_server_id ON public.user_server_configs (server_id);
CREATE INDEX idx_user_configs_enabled ON public.user_server_configs (enabled) WHERE enabled = true;
CREATE INDEX idx_user_configs_container_state ON public.user_server_configs (container_state);
CREATE INDEX idx_user_configs_lookup ON public.user_server_configs (user_id, enabled)
WHERE enabled = true;
CREATE INDEX idx_running_containers ON public.user_server_configs (container_state)
WHERE container_state = 'running';

CREATE TRIGGER update_user_configs_updated_at
    BEFORE UPDATE ON public.user_server_configs
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at();

ALTER TABLE public.user_server_configs ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.user_server_configs FORCE ROW LEVEL SECURITY;

GRANT
    SELECT,
    INSERT (user_id, server_id, enabled, encrypted_config, config_metadata),
    UPDATE (enabled, encrypted_config, config_metadata),
    DELETE
    ON public.user_server_configs TO portal_app;
GRANT SELECT, UPDATE (container_id, container_state, last_state_change)
    ON public.user_server_configs TO portal_runner;

COMMENT ON TABLE  public.user_server_configs                   IS 'A user''s settings for a server.';
COMMENT ON COLUMN public.user_server_configs.id                IS 'The configuration''s id.';
COMMENT ON COLUMN public.user_server_configs.user_id           IS 'Whose configuration it is.';
COMMENT ON COLUMN public.user_server_configs.server_id         IS 'The server it is for.';
COMMENT ON COLUMN public.user_server_configs.enabled           IS 'Whether the user wants it to run.';
COMMENT ON COLUMN public.user_server_configs.container_id      IS 'Docker''s id while a container exists.';
COMMENT ON COLUMN public.user_server_configs.container_state   IS 'State the runner last saw.';
COMMENT ON COLUMN public.user_server_configs.encrypted_config  IS 'Secret settings, as a compact JWE.';
COMMENT ON COLUMN public.user_server_configs.config_metadata   IS 'Settings that are no secret.';
COMMENT ON COLUMN public.user_server_configs.last_state_change IS 'When container_state last changed.';
COMMENT ON COLUMN public.user_server_configs.created_at        IS 'When the row was made.';
COMMENT ON COLUMN public.user_server_configs.updated_at        IS
'When the row last changed; kept by a trigger.';
