-- plpgsql_check finds nothing to say about any of our functions.
\ir begin.psql
CREATE EXTENSION plpgsql_check SCHEMA tap;
SELECT plan(3);

CREATE TEMPORARY VIEW ours AS
SELECT
    p.oid,
    p.proname,
    CASE
        WHEN p.prorettype = 'trigger'::regtype
            THEN (SELECT min(t.tgrelid::bigint) FROM pg_trigger AS t WHERE t.tgfoid = p.oid)::oid
        ELSE 0::oid
    END AS relation
FROM pg_proc AS p
INNER JOIN pg_language AS l ON p.prolang = l.oid
INNER JOIN pg_namespace AS n ON p.pronamespace = n.oid
WHERE
    n.nspname = 'public'
    AND l.lanname = 'plpgsql'
    AND NOT EXISTS (SELECT 1 FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e');

SELECT cmp_ok((SELECT count(*) FROM ours), '>=', 11::bigint, 'there are functions to check');
-- Where pg_cron is not installed, the strings that name it cannot be checked
SELECT is_empty(
    $$
    SELECT o.proname, f.lineno, f.level, f.message, f.detail
    FROM ours AS o
    CROSS JOIN LATERAL plpgsql_check_function_tb(
        o.oid, o.relation, fatal_errors => false, other_warnings => true, extra_warnings => true,
        security_warnings => true, performance_warnings => false
    ) AS f
    WHERE
        (
            o.proname NOT IN ('sync_cron_jobs', 'cleanup_job_runs')
            OR f.message !~ '"cron(\.job|\.job_run_details)?" does not exist'
            OR EXISTS (SELECT 1 FROM pg_extension AS e WHERE e.extname = 'pg_cron')
        )
        -- A job's command is a statement, as the owner has written it into the registry.
        AND NOT (o.proname = 'run_job' AND f.level = 'security')
    $$,
    'no error, no warning, nothing that looks like an injection'
);

-- It would notice
CREATE FUNCTION public.careless(p text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    unused integer;
BEGIN
    EXECUTE 'SELECT ' || p;
    PERFORM missing FROM public.users;
END;
$$;
SELECT set_eq(
    $$
    SELECT DISTINCT f.level
    FROM plpgsql_check_function_tb(
        'public.careless(text)'::regprocedure, fatal_errors => false, security_warnings => true
    ) AS f
    $$,
    ARRAY['error', 'security', 'warning'], 'a careless function shows all it could say'
);

SELECT finish();
ROLLBACK;
