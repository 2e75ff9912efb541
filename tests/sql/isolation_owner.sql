-- The owner sees, adds, changes and deletes every row under FORCE: a migration leaves none out.
\ir begin.psql
\ir tenants.psql
SELECT plan(27);

INSERT INTO public.audit_logs (action) VALUES ('login');

-- How many rows there are, counted past RLS
CREATE TEMPORARY TABLE counted (table_name text, rows bigint);
INSERT INTO counted VALUES
('users', (SELECT count(*) FROM public.users)),
('mcp_servers', (SELECT count(*) FROM public.mcp_servers)),
('user_server_configs', (SELECT count(*) FROM public.user_server_configs)),
('user_sessions', (SELECT count(*) FROM public.user_sessions)),
('audit_logs', (SELECT count(*) FROM public.audit_logs)),
('teams', (SELECT count(*) FROM public.teams)),
('team_members', (SELECT count(*) FROM public.team_members));

CREATE FUNCTION tap.rows_of(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_rows bigint;
BEGIN
    EXECUTE statement;
    GET DIAGNOSTICS v_rows = ROW_COUNT;
    RETURN v_rows;
END;
$$;
GRANT USAGE ON SCHEMA tap TO mcp_admin;
GRANT SELECT ON counted TO mcp_admin;
DO $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO mcp_admin', pg_my_temp_schema()::regnamespace);
END;
$$;

SET LOCAL ROLE mcp_admin;
SELECT is(
    tap.rows_of(format('SELECT 1 FROM public.%I', c.table_name)), c.rows,
    format('the owner sees every row of %s', c.table_name)
)
FROM counted AS c;
SELECT is(
    tap.rows_of(format('UPDATE public.%I SET id = id', c.table_name)), c.rows,
    format('the owner changes every row of %s', c.table_name)
)
FROM counted AS c
WHERE c.table_name <> 'audit_logs';

SELECT is(
    tap.rows_of(s.statement), 1::bigint, 'the owner adds to ' || split_part(s.statement, ' ', 3)
)
FROM unnest(
    ARRAY[
        $$INSERT INTO public.users (azure_oid, email, role) VALUES ('x', 'x', 'super_admin')$$,
        $$INSERT INTO public.mcp_servers (name, image) VALUES ('x', 'x')$$,
        $$INSERT INTO public.user_server_configs (user_id, server_id)
        VALUES ('e0000000-0000-0000-0000-000000000001', '0a000000-0000-0000-0000-000000000001')$$,
        $$INSERT INTO public.user_sessions (user_id, session_token, expires_at)
        VALUES ('a0000000-0000-0000-0000-000000000001', 'x', 'infinity')$$,
        $$INSERT INTO public.audit_logs (user_id, action)
        VALUES ('b0000000-0000-0000-0000-000000000001', 'login')$$,
        $$INSERT INTO public.teams (name) VALUES ('x')$$,
        $$INSERT INTO public.team_members (team_id, user_id)
        VALUES ('1a000000-0000-0000-0000-000000000001', 'e0000000-0000-0000-0000-000000000001')$$
    ]
) AS s (statement);

-- Children before parents; of the trail as retention does, for nobody changes it; each row that was
-- there, and the one added
DO $$
BEGIN
    PERFORM set_config('portal.audit_retention', pg_current_xact_id()::text, true);
END;
$$;
SELECT is(
    tap.rows_of(format('DELETE FROM public.%I', c.table_name)), c.rows + 1,
    format('the owner deletes every row of %s', c.table_name)
)
FROM counted AS c
ORDER BY
    array_position(
        ARRAY[
            'team_members', 'teams', 'audit_logs', 'user_sessions', 'user_server_configs',
            'mcp_servers', 'users'
        ],
        c.table_name
    );

SELECT finish();
ROLLBACK;
