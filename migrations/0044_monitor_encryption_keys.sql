-- How many values each key has made, for portal_monitor: what a rotation has still to do.
-- depends: 0027_monitoring_views 0038_sensitive_data_header
--
-- With its owner's rights and behind a barrier, as the other monitoring views. Without OFFSET the
-- planner would read the header anew for each column.

CREATE VIEW public.monitor_encryption_keys WITH (security_barrier = true) AS
SELECT
    (v.header).kid AS kid,
    (v.header).enc AS enc,
    (v.header).context <> 'none' AS bound,
    count(*) AS count
FROM (
    SELECT public.sensitive_data_header(c.encrypted_config) AS header
    FROM public.user_server_configs AS c
    WHERE c.encrypted_config IS NOT NULL
    OFFSET 0 -- noqa: AM09
) AS v
GROUP BY (v.header).kid, (v.header).enc, (v.header).context <> 'none';

GRANT SELECT ON public.monitor_encryption_keys TO portal_monitor;

COMMENT ON VIEW   public.monitor_encryption_keys       IS 'Encrypted configurations by the key that made them.';
COMMENT ON COLUMN public.monitor_encryption_keys.kid   IS
'The key''s id; NULL for what is no encrypted value, and for what names no key.';
COMMENT ON COLUMN public.monitor_encryption_keys.enc   IS 'The algorithm, as JOSE names it.';
COMMENT ON COLUMN public.monitor_encryption_keys.bound IS 'Whether the value opens in one row alone.';
COMMENT ON COLUMN public.monitor_encryption_keys.count IS 'Values.';
