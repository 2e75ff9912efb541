-- The three monitoring queries, as views for portal_monitor alone.
-- depends: 0008_user_server_configs 0009_user_sessions 0010_audit_logs
--
-- They read with their owner's rights, because a monitor counts all tenants and may read none: it
-- is granted these and no table. security_barrier keeps a function in the monitor's WHERE clause
-- from being handed rows that the view filters out. Active Sessions shows user ids, as the spec has
-- it, and nothing else of a user.

CREATE VIEW public.monitor_active_sessions WITH (security_barrier = true) AS
SELECT
    user_id,
    count(*) AS session_count,
    max(last_activity) AS last_seen
FROM public.user_sessions
WHERE
    is_active = true
    AND expires_at > CURRENT_TIMESTAMP
GROUP BY user_id;

CREATE VIEW public.monitor_container_status WITH (security_barrier = true) AS
SELECT
    container_state,
    count(*) AS count
FROM public.user_server_configs
WHERE container_id IS NOT NULL
GROUP BY container_state;

CREATE VIEW public.monitor_audit_summary WITH (security_barrier = true) AS
SELECT
    a.action,
    count(*) AS count,
    date_trunc('hour', a.timestamp) AS hour
FROM public.audit_logs AS a
WHERE a.timestamp > CURRENT_TIMESTAMP - interval '24 hours'
GROUP BY a.action, hour
ORDER BY hour DESC, count DESC;

GRANT SELECT ON
    public.monitor_active_sessions, public.monitor_container_status, public.monitor_audit_summary
TO portal_monitor;

COMMENT ON VIEW   public.monitor_active_sessions                   IS 'Open sessions of each user.';
COMMENT ON COLUMN public.monitor_active_sessions.user_id           IS 'The user''s id, and no more of them.';
COMMENT ON COLUMN public.monitor_active_sessions.session_count     IS 'Sessions that are open.';
COMMENT ON COLUMN public.monitor_active_sessions.last_seen         IS 'When one was last used.';
COMMENT ON VIEW   public.monitor_container_status                  IS 'Containers by state.';
COMMENT ON COLUMN public.monitor_container_status.container_state  IS 'State the runner last saw.';
COMMENT ON COLUMN public.monitor_container_status.count            IS 'Containers in that state.';
COMMENT ON VIEW   public.monitor_audit_summary                     IS
'Audited actions of the last 24 hours, by hour.';
COMMENT ON COLUMN public.monitor_audit_summary.action              IS 'What was done.';
COMMENT ON COLUMN public.monitor_audit_summary.count               IS 'How often.';
COMMENT ON COLUMN public.monitor_audit_summary.hour                IS 'In the hour beginning then.';
