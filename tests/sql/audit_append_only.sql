-- The trail is only added to: nobody changes or removes an entry at any way in, nor does the owner.
\ir begin.psql
\ir tenants.psql
SELECT plan(39);

DO $$
BEGIN
    -- A partition to come, of a month and of a day
    PERFORM public.ensure_audit_partitions(0, '2033-05-05');
    UPDATE public.settings SET value = 'daily' WHERE name = 'audit_partitions';
    PERFORM public.ensure_audit_partitions(0, '2034-02-28');
END;
$$;
INSERT INTO public.audit_logs (user_id, action) VALUES
('a0000000-0000-0000-0000-000000000001', 'login');
INSERT INTO public.audit_logs (id, action, timestamp) VALUES
('0a000000-0000-0000-0000-000000000001', 'login', CURRENT_TIMESTAMP),
('0a000000-0000-0000-0000-000000000002', 'login', '2024-01-15'),
('0a000000-0000-0000-0000-000000000003', 'login', '1999-01-15'),
('0a000000-0000-0000-0000-000000000004', 'login', '2033-05-15'),
('0a000000-0000-0000-0000-000000000005', 'login', '2034-02-28 12:00+00');

CREATE TEMPORARY VIEW ways AS
SELECT n.relation
FROM unnest(
    ARRAY[
        'audit_logs', 'audit_logs_default', 'audit_logs_2024_01', 'audit_logs_2033_05',
        'audit_logs_2034_02_28'
    ]
) AS n (relation);
GRANT SELECT ON ways TO PUBLIC;

-- As the owner, who has every privilege
SET LOCAL ROLE mcp_admin;
SELECT throws_ok(
    format('UPDATE public.%I SET details = NULL', w.relation), '23001',
    'an audit entry is neither changed nor removed',
    format('the owner updates no row of %s', w.relation)
)
FROM ways AS w;
SELECT throws_ok(
    format('DELETE FROM public.%I', w.relation), '23001', NULL,
    format('the owner deletes no row of %s', w.relation)
)
FROM ways AS w;
SELECT throws_ok(
    format('TRUNCATE public.%I', w.relation), '23001', NULL,
    format('the owner does not truncate %s', w.relation)
)
FROM ways AS w;
SELECT throws_ok(
    $$INSERT INTO public.audit_logs (id, action, timestamp)
    VALUES ('0a000000-0000-0000-0000-000000000002', 'login', '2024-01-15')
    ON CONFLICT (id, timestamp) DO UPDATE SET action = 'logout'$$,
    '23001', NULL, 'nor changes one by ON CONFLICT'
);
SELECT throws_ok(
    $$MERGE INTO public.audit_logs AS a USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE$$,
    '23001', NULL, 'nor removes one by MERGE'
);
SELECT throws_ok(
    $$WITH gone AS (DELETE FROM public.audit_logs RETURNING *) SELECT count(*) FROM gone$$,
    '23001', NULL, 'nor in a WITH'
);
SELECT throws_ok(
    'TRUNCATE public.users CASCADE', '23001', NULL, 'nor by TRUNCATE … CASCADE of users'
);
SELECT throws_ok(
    $$DELETE FROM public.users WHERE id = 'a0000000-0000-0000-0000-000000000001'$$,
    '23503', NULL, 'nor by deleting whom an entry names'
);
SET LOCAL portal.audit_retention = 'on';
SELECT throws_ok(
    'DELETE FROM public.audit_logs', '23001', NULL, 'the mark of another transaction opens nothing'
);
SET LOCAL portal.audit_retention = '';

-- As a superuser in a session that replicates, where ordinary triggers are off
RESET ROLE;
SET LOCAL session_replication_role = 'replica';
SELECT throws_ok(
    format('UPDATE public.%I SET details = NULL', w.relation), '23001', NULL,
    format('a replica updates no row of %s', w.relation)
)
FROM ways AS w
WHERE w.relation <> 'audit_logs';
SELECT throws_ok(
    format('DELETE FROM public.%I', w.relation), '23001', NULL,
    format('a replica deletes no row of %s', w.relation)
)
FROM ways AS w
WHERE w.relation <> 'audit_logs';
SELECT throws_ok(
    format('TRUNCATE public.%I', w.relation), '23001', NULL,
    format('a replica does not truncate %s', w.relation)
)
FROM ways AS w
WHERE w.relation <> 'audit_logs';
SET LOCAL session_replication_role = 'origin';

-- Every partition has all three, and they fire always
SELECT is_empty(
    $$
    SELECT
        i.inhrelid::regclass,
        n.name
    FROM pg_inherits AS i
    CROSS JOIN unnest(
        ARRAY['refuse_audit_update', 'refuse_audit_delete', 'refuse_audit_truncate']
    ) AS n (name)
    WHERE
        i.inhparent = 'public.audit_logs'::regclass
        AND NOT EXISTS (
            SELECT 1
            FROM pg_trigger AS t
            WHERE t.tgrelid = i.inhrelid AND t.tgname = n.name AND t.tgenabled = 'A'
        )
    $$,
    'no partition lacks a trigger, nor has one that is ever off'
);

-- And still an entry is added, and goes with its retention
SELECT lives_ok(
    $$INSERT INTO public.audit_logs (action) VALUES ('logout')$$, 'an entry is added as ever'
);
SET LOCAL ROLE portal_maintenance;
SELECT is(public.cleanup_old_audit_logs(), 1, 'retention drops what is old');
SELECT is(public.cleanup_old_audit_logs(), 1, 'and deletes what is old');
RESET ROLE;
SELECT is(
    current_setting('portal.audit_retention', true), '', 'and leaves the trail shut behind it'
);
SELECT throws_ok('DELETE FROM public.audit_logs', '23001', NULL, 'in the same transaction too');

SELECT finish();
ROLLBACK;
