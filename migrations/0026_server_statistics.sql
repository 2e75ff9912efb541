-- How many users have each server, enabled and running.
-- depends: 0007_mcp_servers 0008_user_server_configs
--
-- security_invoker: a user's statistics count the user, an admin's count everyone.

CREATE VIEW public.server_statistics WITH (security_invoker = true) AS
SELECT
    s.id AS server_id,
    s.name,
    s.catalog_type,
    count(DISTINCT usc.user_id) AS total_users,
    count(DISTINCT CASE WHEN usc.enabled THEN usc.user_id END) AS active_users,
    count(
        DISTINCT CASE WHEN usc.container_state = 'running' THEN usc.user_id END
    ) AS running_instances
FROM public.mcp_servers AS s
LEFT JOIN public.user_server_configs AS usc ON s.id = usc.server_id
GROUP BY s.id, s.name, s.catalog_type;

GRANT SELECT ON public.server_statistics TO portal_app;

COMMENT ON VIEW   public.server_statistics                   IS
'Users of each server, counted over the configurations the caller may see.';
COMMENT ON COLUMN public.server_statistics.server_id         IS 'The server.';
COMMENT ON COLUMN public.server_statistics.name              IS 'The server''s short name.';
COMMENT ON COLUMN public.server_statistics.catalog_type      IS 'predefined or custom.';
COMMENT ON COLUMN public.server_statistics.total_users       IS 'Users with a configuration for it.';
COMMENT ON COLUMN public.server_statistics.active_users      IS 'Of these, those who enabled it.';
COMMENT ON COLUMN public.server_statistics.running_instances IS 'Of these, those whose container runs.';
