-- Partitions are made ahead by UTC months, and rows that came too early leave the default one.
\ir begin.psql
SELECT plan(42);

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

SELECT is(
    (SELECT count(*) FROM public.audit_logs_2031_05), 2::bigint, 'each is there once'
);
SELECT is(current_setting('portal.audit_retention', true), '', 'and the trail is shut again');
SELECT is(
    current_setting('portal.job_note', true),
    '3 rows were moved out of audit_logs_default: the partitions were not made in time',
    'the job''s history is told of it'
);

-- What it locks: the trail is read and written meanwhile
SELECT is(public.ensure_audit_partitions(0, '2032-02-29'), 1, 'leap February of 2032 is made');
SELECT is_empty(
    $$
    SELECT l.mode
    FROM pg_locks AS l
    WHERE
        l.pid = pg_backend_pid() AND l.relation IN ('public.users'::regclass, 'public.audit_logs'::regclass)
        AND l.mode = 'AccessExclusiveLock'
    $$,
    'neither the trail nor the users are locked against readers'
);

-- Like those that were made before
SELECT is_empty(
    $$
    SELECT
        p.partition,
        x.definition
    FROM public.audit_partitions() AS p
    CROSS JOIN (
        SELECT regexp_replace(
            regexp_replace(pg_get_indexdef(i.indexrelid), ' INDEX \S+ ON (ONLY )?\S+ ', ' INDEX … '), '^', ''
        ) AS definition
        FROM pg_index AS i
        WHERE i.indrelid = 'public.audit_logs'::regclass
    ) AS x
    WHERE NOT EXISTS (
        SELECT 1
        FROM pg_index AS o
        INNER JOIN pg_inherits AS h ON o.indexrelid = h.inhrelid
        WHERE
            o.indrelid = p.partition AND o.indisvalid
            AND regexp_replace(pg_get_indexdef(o.indexrelid), ' INDEX \S+ ON (ONLY )?\S+ ', ' INDEX … ')
            = x.definition
    )
    $$,
    'each has every index of its parent, attached and valid'
);
SELECT is_empty(
    $$
    SELECT p.partition, o.conname
    FROM public.audit_partitions() AS p
    INNER JOIN pg_constraint AS o ON p.partition = o.conrelid
    WHERE o.contype = 'c' AND NOT EXISTS (
        SELECT 1 FROM pg_constraint AS q
        WHERE q.conrelid = 'public.audit_logs'::regclass AND q.conname = o.conname
    )
    $$,
    'and no constraint that its parent has not'
);

-- By days from now on: what lies ahead and is empty makes room, and no row moves
SELECT is(public.ensure_audit_partitions(2, '2036-01-20'), 3, 'January to March 2036 are made');
INSERT INTO public.audit_logs (action, user_agent, timestamp) VALUES
('login', 'January', '2036-01-05'), ('login', 'March', '2036-03-05');
UPDATE public.settings SET value = 'daily' WHERE name = 'audit_partitions';
SELECT is(
    public.ensure_audit_partitions(2, '2036-01-20'), 3,
    'until the fourteenth day from now: three days of February'
);
SELECT results_eq(
    $$SELECT p.partition::text FROM public.audit_partitions() AS p WHERE p.starts >= '2036-01-01'$$,
    ARRAY[
        'audit_logs_2036_01', 'audit_logs_2036_02_01', 'audit_logs_2036_02_02',
        'audit_logs_2036_02_03', 'audit_logs_2036_03'
    ],
    'the present month stays, the empty one made room, the one with a row stays'
);
SELECT results_eq(
    $$SELECT tableoid::regclass::text FROM public.audit_logs
    WHERE user_agent IN ('January', 'March') ORDER BY 1$$,
    ARRAY['audit_logs_2036_01', 'audit_logs_2036_03'], 'and the rows are where they were'
);
SELECT is(
    public.ensure_audit_partitions(2, '2036-02-20'), 10,
    'a job that did not run for a while makes what is left of leap February'
);
INSERT INTO public.audit_logs (action, user_agent, timestamp) VALUES
('login', 'in the gap', '2036-02-10 23:59:59.999999+00'),
('login', 'in the gap', '2036-02-11 00:00:00+00');
SELECT is(
    public.ensure_audit_partitions(2, '2036-02-20'), 2, 'and days of the gap once they have rows'
);
SELECT is(
    (SELECT count(*) FROM public.audit_logs_2036_02_10), 1::bigint, 'a day ends at midnight by UTC'
);
SELECT is(
    obj_description('public.audit_logs_2036_02_29'::regclass, 'pg_class'),
    'Audit trail of 29 February 2036, UTC.', 'a day says what it is'
);
SELECT is(
    public.ensure_audit_partitions(36, '2036-04-01'), 12, 'a call makes twelve at most'
);
SELECT is(public.ensure_audit_partitions(36, '2036-04-01'), 12, 'and the next carries on');

-- And back by months
UPDATE public.settings SET value = 'monthly' WHERE name = 'audit_partitions';
SELECT is(
    public.ensure_audit_partitions(2, '2036-04-20'), 8,
    'the rest of the month goes on by days; then come May and June'
);
SELECT results_eq(
    $$SELECT p.partition::text FROM public.audit_partitions() AS p WHERE p.starts >= '2036-04-29'$$,
    ARRAY[
        'audit_logs_2036_04_29', 'audit_logs_2036_04_30', 'audit_logs_2036_05', 'audit_logs_2036_06'
    ],
    'with nothing between them'
);

-- In any time zone, on any day of a month
SET LOCAL timezone = 'America/St_Johns';
SELECT is(
    public.ensure_audit_partitions(1, '2040-01-31 23:59:59.999999+00'), 2, 'on the last of January'
);
SELECT is(
    public.ensure_audit_partitions(1, '2040-01-31 20:29:59.999999-03:30'), 0, 'wherever that is'
);
SELECT is(
    public.ensure_audit_partitions(1, '2040-03-11 02:30:00-02:30'), 2,
    'in the hour that is left out'
);
SET LOCAL timezone = 'UTC';
SELECT results_eq(
    $$SELECT p.starts, p.ends FROM public.audit_partitions() AS p WHERE p.starts >= '2040-01-01'$$,
    $$SELECT m, m + interval '1 month'
    FROM generate_series('2040-01-01'::timestamptz, '2040-04-01', interval '1 month') AS m$$,
    'months are months by UTC'
);

-- Bad arguments
SELECT throws_ok(
    format('SELECT public.ensure_audit_partitions(3, %L)', n), '22023', NULL,
    format('%s is no moment', coalesce(n, 'NULL'))
)
FROM unnest(ARRAY['infinity', '-infinity', NULL]) AS n;
SELECT throws_ok(
    format('SELECT public.ensure_audit_partitions(%L)', n), '22023', NULL,
    format('%s months ahead are refused', coalesce(n::text, 'no'))
)
FROM unnest(ARRAY[-1, 37, NULL]) AS n;

SELECT finish();
ROLLBACK;
