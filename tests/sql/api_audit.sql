-- A page of the trail comes by an index, whoever asks for what, and pages join without a gap.
\ir begin.psql
SELECT plan(18);

INSERT INTO public.users (id, azure_oid, email, role)
SELECT
    ('10000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid AS id,
    'reader ' || n AS azure_oid,
    'reader' || n || '@example.org' AS email,
    CASE n WHEN 1 THEN 'super_admin' ELSE 'standard_user' END AS role
FROM generate_series(1, 200) AS n;

SET LOCAL session_replication_role = replica;
INSERT INTO public.audit_logs (user_id, action, resource_type, resource_id, timestamp)
SELECT
    ('10000000-0000-0000-0000-' || lpad((1 + n % 200)::text, 12, '0'))::uuid AS user_id,
    CASE WHEN n % 3 = 0 THEN 'login' ELSE 'logout' END AS action,
    'session' AS resource_type,
    ('20000000-0000-0000-0000-' || lpad((n % 500)::text, 12, '0'))::uuid AS resource_id,
    -- Four entries of one moment, over both months
    timestamptz '2024-01-05 00:00:00+00' + (n / 4) * interval '6 minutes' AS moment
FROM generate_series(1, 40000) AS n;
SET LOCAL session_replication_role = origin;
ANALYZE public.audit_logs, public.users;

-- What a sequential scan reads of the partitions is counted at the table, what an index finds at
-- the index.
CREATE FUNCTION tap.scanned() RETURNS bigint LANGUAGE sql AS $$
SELECT sum(pg_stat_get_xact_tuples_returned(i.inhrelid))::bigint
FROM pg_inherits AS i
WHERE i.inhparent = 'public.audit_logs'::regclass
$$;
CREATE FUNCTION tap.scanned_by(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_before bigint := tap.scanned();
    v_rows   bigint;
BEGIN
    EXECUTE query INTO v_rows;
    RETURN tap.scanned() - v_before;
END;
$$;
SELECT cmp_ok(
    tap.scanned_by('SELECT count(*) FROM public.audit_logs AS l WHERE l.details IS NULL'),
    '>=', 40000::bigint, 'a sequential scan is counted'
);

-- Reads page by page, as a program would
CREATE FUNCTION tap.walked(p_action text, p_user uuid)
RETURNS TABLE (n bigint, distinct_n bigint, in_order boolean)
LANGUAGE plpgsql AS $$
DECLARE
    v_row  record;
    v_at   timestamptz;
    v_id   uuid;
    v_seen uuid[] := '{}';
    v_more boolean := true;
    v_in_order boolean := true;
BEGIN
    WHILE v_more LOOP
        v_more := false;
        FOR v_row IN
            SELECT l.id, l.timestamp
            FROM public.read_audit_log(
                p_user_id => p_user, p_action => p_action, p_before => v_at, p_before_id => v_id,
                p_from => '2024-01-05 00:00:00+00', p_to => '2024-02-10 00:00:00+00', p_limit => 97
            ) AS l
        LOOP

               v_in_order := v_in_order AND (v_at IS NULL OR (v_row.timestamp, v_row.id) < (v_at, v_id));
            v_at := v_row.timestamp;
            v_id := v_row.id;
            v_seen := v_seen || v_row.id;
            v_more := true;
        END LOOP;
    END LOOP;
    RETURN QUERY SELECT count(*), count(DISTINCT s.id), v_in_order FROM unnest(v_seen) AS s (id);
END;
$$;
SET LOCAL ROLE portal_app;

-- As a user, then as a super_admin
SET LOCAL app.current_user_id = '10000000-0000-0000-0000-000000000042';
SELECT is(
    tap.scanned_by('SELECT count(*) FROM public.read_audit_log(' || a || ')'), 0::bigint,
    'a user''s own page needs no sequential scan: ' || a
)
FROM unnest(ARRAY['', 'p_action => ''login''', 'p_before => ''2024-01-20 00:00:00+00''']) AS a;
SET LOCAL app.current_user_id = '10000000-0000-0000-0000-000000000001';
SELECT is(
    tap.scanned_by('SELECT count(*) FROM public.read_audit_log(' || a || ')'), 0::bigint,
    'nor does everyone''s: ' || a
)
FROM unnest(ARRAY[
    '', 'p_action => ''login''', 'p_action => ''user_erased''',
    'p_before => ''2024-01-20 00:00:00+00''',
    'p_resource_id => ''20000000-0000-0000-0000-000000000042''',
    'p_user_id => ''10000000-0000-0000-0000-000000000042'''
]) AS a;

-- Page by page
SELECT results_eq(
    'SELECT * FROM tap.walked(''login'', NULL)', 'VALUES (11519::bigint, 11519::bigint, true)',
    'page by page a super_admin reads every login of the time once, newest first'
);
SELECT results_eq(
    'SELECT * FROM tap.walked(NULL, ''10000000-0000-0000-0000-000000000042'')',
    'VALUES (173::bigint, 173::bigint, true)', 'and every entry of a user'
);

-- As a narrowed team_admin, whose members are looked for in steps back in time
RESET ROLE;
UPDATE public.settings SET value = 'teams' WHERE name = 'team_admin_scope';
UPDATE public.users SET role = 'team_admin' WHERE azure_oid = 'reader 50';
INSERT INTO public.teams (id, name) VALUES ('30000000-0000-0000-0000-000000000001', 'readers');
INSERT INTO public.team_members (team_id, user_id, role)
SELECT
    '30000000-0000-0000-0000-000000000001' AS team_id,
    u.id AS user_id,
    CASE u.azure_oid WHEN 'reader 50' THEN 'admin' ELSE 'member' END AS role
FROM public.users AS u
WHERE u.azure_oid IN ('reader 42', 'reader 43', 'reader 44', 'reader 50');
SET LOCAL ROLE portal_app;
SET LOCAL app.current_user_id = '10000000-0000-0000-0000-000000000050';
SELECT results_eq(
    'SELECT * FROM tap.walked(NULL, NULL)', 'VALUES (692::bigint, 692::bigint, true)',
    'page by page a narrowed team_admin reads every entry of the members once, newest first'
);
SELECT results_eq(
    $$SELECT count(*), min(l.timestamp) > '2024-01-01' FROM public.read_audit_log(p_limit => 1000) AS l$$,
    'VALUES (800::bigint, true)', 'and a page goes back as far as it must'
);
SELECT is(
    (SELECT count(*) FROM public.read_audit_log(p_limit => 1000, p_action => 'login')), 267::bigint,
    'that of an action too'
);

-- Without a context, and directly
SET LOCAL app.current_user_id = '';
SELECT throws_ok(
    'SELECT * FROM public.read_audit_log()', 'PT401', NULL, 'nobody reads nothing without a context'
);
SELECT throws_ok(
    'SELECT * FROM public.audit_logs', '42501', NULL, 'and portal_app reads no row but through it'
);

-- The partitions that the job makes have the indexes too
RESET ROLE;
SELECT is(
    (
        SELECT count(*)
        FROM pg_inherits AS i
        INNER JOIN pg_inherits AS x ON x.inhparent IN (
            'public.idx_audit_logs_user_timestamp'::regclass,
            'public.idx_audit_logs_action_timestamp'::regclass,
            'public.idx_audit_logs_resource_id'::regclass
        )
        INNER JOIN pg_index AS p ON x.inhrelid = p.indexrelid AND i.inhrelid = p.indrelid
        WHERE i.inhparent = 'public.audit_logs'::regclass AND p.indisvalid
    ),
    3 * (SELECT count(*) FROM pg_inherits AS i WHERE i.inhparent = 'public.audit_logs'::regclass),
    'each partition has the three indexes'
);

SELECT finish();
ROLLBACK;
