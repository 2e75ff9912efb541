-- What an on-call person asks beside the spec's three queries, as views for portal_monitor alone.
-- depends: 0010_audit_logs 0027_monitoring_views 0122_container_status
--
-- With their owner's rights and behind a barrier, as the other monitoring views: counts and sizes,
-- and no tenant's row. What the server tells of other sessions it tells to pg_read_all_stats alone;
-- whoever has not got it reads NULL there.

CREATE VIEW public.monitor_audit_partitions WITH (security_barrier = true) AS
SELECT
    c.relname::text AS partition_name,
    substring(b.bounds FROM $$FROM \('([^']+)'\)$$)::timestamptz AS starts_at,
    substring(b.bounds FROM $$TO \('([^']+)'\)$$)::timestamptz AS ends_at,
    nullif(c.reltuples, -1)::bigint AS estimated_rows,
    pg_total_relation_size(c.oid) AS bytes
FROM pg_inherits AS i
INNER JOIN pg_class AS c ON i.inhrelid = c.oid
CROSS JOIN LATERAL pg_get_expr(c.relpartbound, c.oid) AS b (bounds)
WHERE i.inhparent = 'public.audit_logs'::regclass;

CREATE VIEW public.monitor_audit_runway WITH (security_barrier = true) AS
SELECT
    (SELECT max(p.ends_at) FROM public.monitor_audit_partitions AS p) AS partitioned_until,
    (
        SELECT floor(extract(EPOCH FROM max(p.ends_at) - CURRENT_TIMESTAMP) / 86400)::integer
        FROM public.monitor_audit_partitions AS p
    ) AS days_left,
    (SELECT count(*) FROM public.audit_logs_default) AS rows_in_default;

CREATE VIEW public.monitor_container_reasons WITH (security_barrier = true) AS
SELECT
    c.container_state,
    s.reason,
    count(*) AS count,
    count(*) FILTER (WHERE s.next_retry_at IS NOT NULL) AS retrying,
    min(c.last_state_change) AS oldest_change
FROM public.user_server_configs AS c
INNER JOIN public.container_status AS s ON c.id = s.config_id
GROUP BY c.container_state, s.reason;

CREATE VIEW public.monitor_connections WITH (security_barrier = true) AS
SELECT
    count(*) FILTER (WHERE a.datid = d.oid) AS connections,
    nullif(d.datconnlimit, -1) AS connection_limit,
    count(*) AS server_connections,
    current_setting('max_connections')::integer AS server_limit,
    max(extract(EPOCH FROM CURRENT_TIMESTAMP - a.xact_start))::float8
    AS longest_transaction_seconds,
    max(extract(EPOCH FROM CURRENT_TIMESTAMP - a.state_change))
        FILTER (WHERE a.state LIKE 'idle in transaction%')::float8
    AS longest_idle_in_transaction_seconds,
    count(*) FILTER (WHERE a.wait_event_type = 'Lock') AS waiting_for_locks
FROM pg_database AS d
CROSS JOIN pg_stat_activity AS a
WHERE d.datname = current_database() AND a.datid IS NOT NULL
GROUP BY d.oid, d.datconnlimit;

CREATE VIEW public.monitor_tables WITH (security_barrier = true) AS
SELECT
    s.relname::text AS table_name,
    s.n_live_tup AS live_rows,
    s.n_dead_tup AS dead_rows,
    pg_table_size(s.relid) AS table_bytes,
    pg_indexes_size(s.relid) AS index_bytes,
    (pg_relation_size(s.relid) * s.n_dead_tup / nullif(s.n_live_tup + s.n_dead_tup, 0))::bigint
    AS dead_bytes,
    s.seq_scan AS sequential_scans,
    s.seq_tup_read AS rows_read_in_sequence,
    s.idx_scan AS index_scans,
    greatest(s.last_vacuum, s.last_autovacuum) AS last_vacuum,
    greatest(s.last_analyze, s.last_autoanalyze) AS last_analyze
FROM pg_stat_user_tables AS s
WHERE s.schemaname = 'public';

CREATE VIEW public.monitor_indexes WITH (security_barrier = true) AS
SELECT
    s.indexrelname::text AS index_name,
    s.relname::text AS table_name,
    s.idx_scan AS scans,
    pg_relation_size(s.indexrelid) AS bytes,
    i.indisunique AS is_unique,
    i.indisvalid AS is_valid
FROM pg_stat_user_indexes AS s
INNER JOIN pg_index AS i ON s.indexrelid = i.indexrelid
WHERE s.schemaname = 'public';

GRANT SELECT ON
    public.monitor_audit_partitions, public.monitor_audit_runway, public.monitor_container_reasons,
    public.monitor_connections, public.monitor_tables, public.monitor_indexes
TO portal_monitor;

COMMENT ON VIEW   public.monitor_audit_partitions                IS 'The audit trail''s partitions, and what they take.';
COMMENT ON COLUMN public.monitor_audit_partitions.partition_name IS 'The partition''s name.';
COMMENT ON COLUMN public.monitor_audit_partitions.starts_at      IS 'Its first moment; NULL of the default one.';
COMMENT ON COLUMN public.monitor_audit_partitions.ends_at        IS 'The moment after its last; NULL of the default one.';
COMMENT ON COLUMN public.monitor_audit_partitions.estimated_rows IS 'Rows as of the last ANALYZE; NULL before the first.';
COMMENT ON COLUMN public.monitor_audit_partitions.bytes          IS 'Size with its indexes.';

COMMENT ON VIEW   public.monitor_audit_runway                   IS 'How long the audit trail''s partitions last.';
COMMENT ON COLUMN public.monitor_audit_runway.partitioned_until IS 'When the last partition ends.';
COMMENT ON COLUMN public.monitor_audit_runway.days_left         IS 'Whole days until then; negative when they have run out.';
COMMENT ON COLUMN public.monitor_audit_runway.rows_in_default   IS 'Rows that found no partition; more than none is an alarm.';

COMMENT ON VIEW   public.monitor_container_reasons                 IS 'Containers by state and by why.';
COMMENT ON COLUMN public.monitor_container_reasons.container_state IS 'State the runner last saw.';
COMMENT ON COLUMN public.monitor_container_reasons.reason          IS 'Why, in a word; NULL where nothing is wrong.';
COMMENT ON COLUMN public.monitor_container_reasons.count           IS 'Containers.';
COMMENT ON COLUMN public.monitor_container_reasons.retrying        IS 'Those of them that the runner will try again.';
COMMENT ON COLUMN public.monitor_container_reasons.oldest_change   IS 'When the state of one of them last changed, the earliest.';

COMMENT ON VIEW   public.monitor_connections IS 'Connections against their limits, and what holds others up.';
COMMENT ON COLUMN public.monitor_connections.connections        IS 'Connections to this database.';
COMMENT ON COLUMN public.monitor_connections.connection_limit   IS 'The database''s limit; NULL for none.';
COMMENT ON COLUMN public.monitor_connections.server_connections IS 'Connections to any database.';
COMMENT ON COLUMN public.monitor_connections.server_limit       IS 'The server''s limit, max_connections.';
COMMENT ON COLUMN public.monitor_connections.longest_transaction_seconds IS
'How long the longest transaction has been open; NULL for whoever is not in pg_read_all_stats.';
COMMENT ON COLUMN public.monitor_connections.longest_idle_in_transaction_seconds IS
'How long one has been open with nothing running; NULL where there is none, and as above.';
COMMENT ON COLUMN public.monitor_connections.waiting_for_locks IS
'Sessions that wait for a lock, of those that one may see.';

COMMENT ON VIEW   public.monitor_tables                  IS 'What tables take, what of it is dead, and how they are read.';
COMMENT ON COLUMN public.monitor_tables.table_name       IS 'The table.';
COMMENT ON COLUMN public.monitor_tables.live_rows        IS 'Rows, estimated.';
COMMENT ON COLUMN public.monitor_tables.dead_rows        IS 'Rows that VACUUM has still to remove, estimated.';
COMMENT ON COLUMN public.monitor_tables.table_bytes      IS 'Size without indexes.';
COMMENT ON COLUMN public.monitor_tables.index_bytes      IS 'Size of its indexes.';
COMMENT ON COLUMN public.monitor_tables.dead_bytes       IS 'What dead rows take, estimated.';
COMMENT ON COLUMN public.monitor_tables.sequential_scans IS 'Times it was read from end to end.';
COMMENT ON COLUMN public.monitor_tables.rows_read_in_sequence IS
'Rows read so: many times as many as it has may mean that an index is missing.';
COMMENT ON COLUMN public.monitor_tables.index_scans      IS 'Times an index was used; NULL where it has none.';
COMMENT ON COLUMN public.monitor_tables.last_vacuum      IS 'When it was last vacuumed; NULL for never.';
COMMENT ON COLUMN public.monitor_tables.last_analyze     IS 'When it was last analysed; NULL for never.';

COMMENT ON VIEW   public.monitor_indexes            IS 'Indexes, and whether anything uses them.';
COMMENT ON COLUMN public.monitor_indexes.index_name IS 'The index.';
COMMENT ON COLUMN public.monitor_indexes.table_name IS 'Its table.';
COMMENT ON COLUMN public.monitor_indexes.scans      IS 'Times it was used on this server since its statistics began.';
COMMENT ON COLUMN public.monitor_indexes.bytes      IS 'Its size.';
COMMENT ON COLUMN public.monitor_indexes.is_unique  IS 'Whether it holds a rule, and is needed unused.';
COMMENT ON COLUMN public.monitor_indexes.is_valid   IS 'False where CREATE INDEX CONCURRENTLY did not finish.';
