-- What a user's start page lists: each server that they have a configuration of, and how it is.
-- depends: 0008_user_server_configs 0070_restart_requested_at
--
-- security_invoker: a user sees their own, an admin those within reach. The server may be one that
-- its reader does not see any more, and then has no name here.

CREATE VIEW public.user_servers WITH (security_invoker = true) AS
SELECT
    c.id AS config_id,
    c.user_id,
    c.server_id,
    s.name,
    s.display_name,
    s.catalog_type,
    s.category,
    s.is_active,
    c.enabled,
    c.container_state,
    c.last_state_change,
    c.restart_requested_at,
    c.config_metadata,
    c.encrypted_config IS NOT NULL AS has_secret,
    c.created_at,
    c.updated_at
FROM public.user_server_configs AS c
LEFT JOIN public.mcp_servers AS s ON c.server_id = s.id;

GRANT SELECT ON public.user_servers TO portal_app;

COMMENT ON VIEW   public.user_servers                      IS
'Configurations that the caller may see, one row a server of a user; whether there is a secret, and never the secret.';
COMMENT ON COLUMN public.user_servers.config_id            IS 'The configuration.';
COMMENT ON COLUMN public.user_servers.user_id              IS 'Whose it is.';
COMMENT ON COLUMN public.user_servers.server_id            IS 'The server it is for.';
COMMENT ON COLUMN public.user_servers.name                 IS 'The server''s short name.';
COMMENT ON COLUMN public.user_servers.display_name         IS 'The server''s name to show.';
COMMENT ON COLUMN public.user_servers.catalog_type         IS 'predefined or custom.';
COMMENT ON COLUMN public.user_servers.category             IS 'Group to show the server in.';
COMMENT ON COLUMN public.user_servers.is_active            IS 'False where the server is out of use.';
COMMENT ON COLUMN public.user_servers.enabled              IS 'Whether the user wants it to run.';
COMMENT ON COLUMN public.user_servers.container_state      IS 'State the runner last saw.';
COMMENT ON COLUMN public.user_servers.last_state_change    IS 'When container_state last changed.';
COMMENT ON COLUMN public.user_servers.restart_requested_at IS 'When a restart was last asked for.';
COMMENT ON COLUMN public.user_servers.config_metadata      IS 'Settings that are no secret.';
COMMENT ON COLUMN public.user_servers.has_secret           IS 'Whether there is an encrypted value.';
COMMENT ON COLUMN public.user_servers.created_at           IS 'When the configuration was made.';
COMMENT ON COLUMN public.user_servers.updated_at           IS
'When it last changed; what update_server_config() expects.';
