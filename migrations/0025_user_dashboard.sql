-- What a user's start page shows: how many servers they have, enabled and running.
-- depends: 0004_users 0008_user_server_configs
--
-- security_invoker: without it the view reads as its owner, and every tenant reads every other
-- through it.

CREATE VIEW public.user_dashboard WITH (security_invoker = true) AS
SELECT
    u.id AS user_id,
    u.email,
    u.display_name,
    u.role,
    count(DISTINCT usc.server_id) AS total_servers,
    count(DISTINCT CASE WHEN usc.enabled THEN usc.server_id END) AS enabled_servers,
    count(
        DISTINCT CASE WHEN usc.container_state = 'running' THEN usc.server_id END
    ) AS running_servers
FROM public.users AS u
LEFT JOIN public.user_server_configs AS usc ON u.id = usc.user_id
GROUP BY u.id, u.email, u.display_name, u.role;

GRANT SELECT ON public.user_dashboard TO portal_app;

COMMENT ON VIEW   public.user_dashboard                 IS 'Servers of each user whom the caller may see.';
COMMENT ON COLUMN public.user_dashboard.user_id         IS 'The user.';
COMMENT ON COLUMN public.user_dashboard.email           IS 'The user''s address.';
COMMENT ON COLUMN public.user_dashboard.display_name    IS 'The user''s name to show.';
COMMENT ON COLUMN public.user_dashboard.role            IS 'The user''s role.';
COMMENT ON COLUMN public.user_dashboard.total_servers   IS 'Servers the user has a configuration for.';
COMMENT ON COLUMN public.user_dashboard.enabled_servers IS 'Of these, those the user has enabled.';
COMMENT ON COLUMN public.user_dashboard.running_servers IS 'Of these, those whose container runs.';
