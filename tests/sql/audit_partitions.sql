-- Partitions are made ahead by UTC months, and rows that came too early leave the default one.
\ir begin.psql
SELECT plan(16);

CREATE TEMPORARY VIEW partitions AS
SELECT
    c.relname::text AS name,
    pg_get_expr(c.relpartbound, c.oid) AS bound
FROM pg_inherits AS i
INNER JOIN pg_class AS c ON i.inhrelid = c.oid
WHERE i.inhparent = 'public.audit_logs'::regclass;

SET LOCAL timezone = 'UTC';
SELECT set_eq(
    $$SELECT name, bound FROM partitions WHERE name ~ '2024|default'$$,
    $$VALUES
    ('audit_logs_2024_01', 'FOR VALUES FROM (''2024-01-01 00:00:00+00'') TO (''2024-02-01 00:00:00+00'')'),
    ('audit_logs_2024_02', 'FOR VALUES FROM (''2024-02-01 00:00:00+00'') TO (''2024-03-01 00:00:00+00'')'),
    ('audit_logs_default', 'DEFAULT')$$,
    'the two partitions of the spec are there, and the default one'
);
SELECT is_empty(
    $$
    SELECT m
    FROM generate_series(
        date_trunc('month', CURRENT_TIMESTAMP), CURRENT_TIMESTAMP, interval '1 month'
    ) AS m
    WHERE 'audit_logs_' || to_char(m, 'YYYY_MM') NOT IN (SELECT p.name FROM partitions AS p)
    $$,
    'this month has its partition'
);

-- With a moved clock, on a server whose months begin elsewhere
SET LOCAL timezone = 'Pacific/Kiritimati';
SET LOCAL ROLE portal_maintenance;
SELECT is(
    public.ensure_audit_partitions(1, '2028-01-31 23:59:59+00'), 2,
    'January and February 2028 are made'
);
SELECT is(public.ensure_audit_partitions(1, '2028-01-31 23:59:59+00'), 0, 'and not a second time');
SELECT is(
    public.ensure_audit_partitions(1, '2028-02-01 00:00:00+00'), 1, 'a moment later March follows'
);
SELECT is(
    public.ensure_audit_partitions(0, '2029-06-15'), 1,
    'after a pause the gap is left and June 2029 made'
);
SELECT is(
    public.ensure_audit_partitions(0, '2028-02-15'), 0, 'a clock that jumps back makes nothing'
);
RESET ROLE;
SET LOCAL timezone = 'UTC';
SELECT set_eq(
    $$SELECT bound FROM partitions WHERE name ~ '2028|2029'$$,
    ARRAY[
        'FOR VALUES FROM (''2028-01-01 00:00:00+00'') TO (''2028-02-01 00:00:00+00'')',
        'FOR VALUES FROM (''2028-02-01 00:00:00+00'') TO (''2028-03-01 00:00:00+00'')',
        'FOR VALUES FROM (''2028-03-01 00:00:00+00'') TO (''2028-04-01 00:00:00+00'')',
        'FOR VALUES FROM (''2029-06-01 00:00:00+00'') TO (''2029-07-01 00:00:00+00'')'
    ],
    'their bounds are months by UTC, a leap February too'
);
SELECT is_empty(
    $$
    SELECT c.relname
    FROM pg_class AS c
    WHERE
        c.relname ~ '^audit_logs_(2028|2029)_..$'
        AND (NOT c.relrowsecurity OR c.relacl IS NOT NULL OR c.relowner <> 'mcp_admin'::regrole
            OR obj_description(c.oid, 'pg_class') IS NULL)
    $$,
    'each belongs to the owner, has RLS enabled, no grant, and says what it is'
);
SELECT is(
    (
        SELECT count(*)
        FROM pg_constraint AS o
        WHERE
            o.conrelid = 'public.audit_logs_2028_02'::regclass
            AND o.conname IN ('valid_action', 'audit_logs_user_id_fkey', 'audit_logs_2028_02_pkey')
    ),
    3::bigint, 'each has its parent''s key, foreign key and check'
);

-- Rows that came before their partition
INSERT INTO public.audit_logs (action, user_agent, timestamp) VALUES
('login', 'first of the month', '2031-05-01 00:00:00+00'),
('logout', 'last of the month', '2031-05-31 23:59:59.999999+00'),
('login', 'the month after', '2031-06-01 00:00:00+00'),
('login', 'never', 'infinity');
SELECT is(
    (SELECT count(*) FROM public.audit_logs_default WHERE user_agent IS NOT NULL), 4::bigint,
    'entries without a partition are taken by the default one'
);
SET LOCAL ROLE portal_maintenance;
SELECT is(
    public.ensure_audit_partitions(0, '2029-06-15'), 2,
    'the job makes the partitions that they need'
);
RESET ROLE;
SELECT results_eq(
    $$SELECT tableoid::regclass::text, user_agent FROM public.audit_logs
    WHERE timestamp >= '2031-01-01' ORDER BY timestamp$$,
    $$VALUES
    ('audit_logs_2031_05', 'first of the month'), ('audit_logs_2031_05', 'last of the month'),
    ('audit_logs_2031_06', 'the month after'), ('audit_logs_default', 'never')$$,
    'and moves them there, all but the one that no month holds'
);

-- Bad arguments
SELECT throws_ok(
    format('SELECT public.ensure_audit_partitions(%L)', n), '22023', NULL,
    format('%s months ahead are refused', coalesce(n::text, 'no'))
)
FROM unnest(ARRAY[-1, 37, NULL]) AS n;

SELECT finish();
ROLLBACK;
