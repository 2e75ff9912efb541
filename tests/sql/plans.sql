-- A user's query without a WHERE clause reads the user's rows by an index, however large the table.
\ir begin.psql
SELECT plan(12);

INSERT INTO public.users (id, azure_oid, email)
SELECT
    ('10000000-0000-0000-0000-' || lpad(n::text, 12, '0'))::uuid AS id,
    'plan ' || n AS azure_oid,
    'plan' || n || '@example.org' AS email
FROM generate_series(1, 3000) AS n;
INSERT INTO public.users (id, azure_oid, email, role)
VALUES ('f0000000-0000-0000-0000-000000000001', 'sam', 'sam@example.org', 'super_admin');

CREATE TEMPORARY VIEW planned AS
SELECT
    u.id,
    u.azure_oid
FROM public.users AS u
WHERE u.azure_oid LIKE 'plan %';

INSERT INTO public.mcp_servers (name, image, catalog_type, created_by)
SELECT
    u.azure_oid || ' ' || n AS name,
    'x' AS image,
    'custom' AS catalog_type,
    u.id
FROM planned AS u
CROSS JOIN generate_series(1, 2) AS n;

WITH ten AS (
    SELECT s.id
    FROM public.mcp_servers AS s
    ORDER BY s.name
    LIMIT 10
)

INSERT INTO public.user_server_configs (user_id, server_id, enabled)
SELECT
    u.id,
    ten.id AS server_id,
    true AS enabled
FROM planned AS u
CROSS JOIN ten;

INSERT INTO public.user_sessions (user_id, session_token, expires_at)
SELECT
    u.id,
    u.azure_oid || ' ' || n AS session_token,
    'infinity'::timestamptz AS expires_at
FROM planned AS u
CROSS JOIN generate_series(1, 3) AS n;

INSERT INTO public.teams (id, name, created_by)
SELECT
    ('20000000' || substr(u.id::text, 9))::uuid AS id,
    u.azure_oid,
    u.id AS created_by
FROM planned AS u;
INSERT INTO public.team_members (team_id, user_id)
SELECT
    t.id,
    t.created_by
FROM public.teams AS t
WHERE t.name LIKE 'plan %';

ANALYZE public.users, public.mcp_servers, public.user_server_configs, public.user_sessions,
public.teams, public.team_members;

CREATE FUNCTION tap.plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE 'EXPLAIN (COSTS off) ' || query;
END;
$$;

-- As a user
SET LOCAL ROLE portal_app;
SET LOCAL app.current_user_id = '10000000-0000-0000-0000-000000000042';
SELECT is_empty(
    format($$SELECT p FROM tap.plan_of('SELECT count(*) FROM public.%I') AS p WHERE p LIKE '%%Seq Scan%%'$$, t),
    format('counting %s needs no sequential scan', t)
)
FROM unnest(
    ARRAY['users', 'mcp_servers', 'user_server_configs', 'user_sessions', 'teams', 'team_members']
) AS t;
SELECT is_empty(
    $$SELECT p FROM tap.plan_of('UPDATE public.user_server_configs SET enabled = false') AS p
    WHERE p LIKE '%Seq Scan%'$$,
    'nor does an update without a WHERE'
);
SELECT is_empty(
    $$SELECT p FROM tap.plan_of('SELECT * FROM public.user_dashboard') AS p WHERE p LIKE '%Seq Scan%'$$,
    'nor does the dashboard'
);

-- The rows are right, too
SELECT is((SELECT count(*) FROM public.user_server_configs), 10::bigint, 'the user counts ten configurations');
SELECT is((SELECT count(*) FROM public.user_sessions), 3::bigint, 'and three sessions');

-- As an admin
SET LOCAL app.current_user_id = 'f0000000-0000-0000-0000-000000000001';
SELECT cmp_ok(
    (SELECT count(*) FROM public.user_server_configs), '>=', 30000::bigint, 'an admin counts everyone''s'
);

-- Without a context
SET LOCAL app.current_user_id = '';
SELECT is((SELECT count(*) FROM public.user_server_configs), 0::bigint, 'nobody counts none');

SELECT finish();
ROLLBACK;
