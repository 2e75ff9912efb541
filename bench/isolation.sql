-- What `python -m bench.isolation` fills the tables with, and the policies that it measures ours beside.

-- name: fill
-- 100,000 users with ten configurations each; one in a hundred is deactivated, every thousandth a team_admin who
-- administers a team of twenty, every five-thousandth a super_admin. A million rows of audit log over this month.
INSERT INTO public.users (id, azure_oid, email, display_name, role, is_active)
SELECT
    md5('user ' || n)::uuid, 'oid ' || n, 'user' || n || '@example.org', 'User ' || n,
    CASE WHEN n %% 5000 = 1 THEN 'super_admin' WHEN n %% 1000 = 0 THEN 'team_admin' ELSE 'standard_user' END,
    n %% 100 <> 99
FROM generate_series(1, %(users)s::int) AS n;
INSERT INTO public.mcp_servers (id, name, image, catalog_type)
SELECT md5('server ' || n)::uuid, 'server ' || n, 'x', 'predefined' FROM generate_series(1, 100) AS n;
INSERT INTO public.user_server_configs (user_id, server_id, enabled, container_state, encrypted_config)
SELECT
    md5('user ' || u)::uuid, md5('server ' || (u * 7 + k * 10) %% 100 + 1)::uuid, k %% 2 = 0,
    CASE WHEN k %% 3 = 0 THEN 'running' END,
    -- One value for all, made once.
    (SELECT public.encrypt_sensitive_data('a secret', 'a key of the benchmark'))
FROM generate_series(1, 10) AS k, generate_series(1, %(users)s::int) AS u;
INSERT INTO public.audit_logs (user_id, action, resource_type, timestamp)
SELECT md5('user ' || u)::uuid, 'login', 'session', date_trunc('month', CURRENT_TIMESTAMP) + k * interval '1 hour'
FROM generate_series(1, 10) AS k, generate_series(1, %(users)s::int) AS u;
INSERT INTO public.teams (id, name, created_by)
SELECT md5('team ' || n)::uuid, 'team ' || n, md5('user ' || n)::uuid
FROM generate_series(1000, %(users)s::int, 1000) AS n;
INSERT INTO public.team_members (team_id, user_id, role)
SELECT
    md5('team ' || n)::uuid, md5('user ' || n - k)::uuid, CASE k WHEN 0 THEN 'admin' ELSE 'member' END
FROM generate_series(1000, %(users)s::int, 1000) AS n, generate_series(0, 19) AS k

-- name: sides
-- Each side is a role of its own on the same tables: a policy holds for the roles that it names.
CREATE ROLE bench_where BYPASSRLS;
CREATE ROLE bench_spec;
CREATE ROLE bench_advice;
CREATE ROLE bench_function;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO bench_where, bench_spec, bench_advice, bench_function;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO bench_where, bench_spec, bench_advice, bench_function;

-- The specification to the letter: RLS on two tables, none on the others.
CREATE POLICY bench_spec ON public.user_server_configs TO bench_spec
    USING (user_id = current_setting('app.current_user_id')::uuid);
CREATE POLICY bench_spec_admin ON public.user_server_configs TO bench_spec
    USING (
        EXISTS (
            SELECT 1 FROM public.users
            WHERE id = current_setting('app.current_user_id')::uuid AND role IN ('super_admin', 'team_admin')
        )
    );
CREATE POLICY bench_spec ON public.user_sessions TO bench_spec
    USING (user_id = current_setting('app.current_user_id')::uuid);
CREATE POLICY bench_spec ON public.users TO bench_spec USING (true);
CREATE POLICY bench_spec ON public.audit_logs TO bench_spec
    USING (user_id = current_setting('app.current_user_id')::uuid);
CREATE POLICY bench_spec_admin ON public.audit_logs TO bench_spec
    USING (
        EXISTS (
            SELECT 1 FROM public.users
            WHERE id = current_setting('app.current_user_id')::uuid AND role IN ('super_admin', 'team_admin')
        )
    );

-- The usual advice: whatever does not depend on the row under a scalar sub-select, the admin's part a function.
CREATE FUNCTION public.bench_is_admin() RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
RETURN EXISTS (
    SELECT 1 FROM public.users AS u
    WHERE u.id = public.current_app_user_id() AND u.is_active AND u.role IN ('super_admin', 'team_admin')
);
GRANT EXECUTE ON FUNCTION public.bench_is_admin() TO bench_advice;
CREATE POLICY bench_advice ON public.user_server_configs TO bench_advice
    USING (user_id = (SELECT public.current_app_user_id()) OR (SELECT public.bench_is_admin()));
CREATE POLICY bench_advice ON public.user_sessions TO bench_advice
    USING (user_id = (SELECT public.current_app_user_id()));
CREATE POLICY bench_advice ON public.users TO bench_advice
    USING (id = (SELECT public.current_app_user_id()) OR (SELECT public.bench_is_admin()));
CREATE POLICY bench_advice ON public.audit_logs TO bench_advice
    USING (user_id = (SELECT public.current_app_user_id()) OR (SELECT public.bench_is_admin()));

-- Ours, if functions were asked and not a view.
CREATE FUNCTION public.bench_active_user() RETURNS uuid LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT u.id FROM public.users AS u WHERE u.id = public.current_app_user_id() AND u.is_active);
END;
$$;
CREATE FUNCTION public.bench_everyone_from() RETURNS uuid LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (
        SELECT '00000000-0000-0000-0000-000000000000'::uuid FROM public.users AS u
        WHERE u.id = public.current_app_user_id() AND u.is_active AND u.role IN ('super_admin', 'team_admin')
    );
END;
$$;
GRANT EXECUTE ON FUNCTION public.bench_active_user(), public.bench_everyone_from() TO bench_function;
CREATE POLICY bench_function ON public.user_server_configs TO bench_function
    USING (user_id = (SELECT public.bench_active_user()));
CREATE POLICY bench_function_admin ON public.user_server_configs TO bench_function
    USING (
        user_id BETWEEN (SELECT public.bench_everyone_from()) AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

-- Services do not read the trail yet; this is how they would, in the form of our other policies.
CREATE POLICY bench_ours ON public.audit_logs FOR SELECT TO portal_app
    USING (user_id = ANY ((SELECT r.user_ids FROM public.app_reach AS r)::uuid[]));
CREATE POLICY bench_ours_admin ON public.audit_logs FOR SELECT TO portal_app
    USING (
        user_id BETWEEN (SELECT r.everyone_from FROM public.app_reach AS r)
        AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );
GRANT SELECT ON public.audit_logs TO portal_app;
UPDATE public.settings SET value = 'teams' WHERE name = 'team_admin_scope';

-- name: script
-- A connection serves one user for fifty transactions, then another: every side sets the context, needed or not.
\set turn mod(:n, 50)
\set n :n + 1
\if :turn = 0
\set who {who}
SELECT md5('user ' || :who)::uuid AS me, md5('server ' || mod(:who * 7 + 10, 100) + 1)::uuid AS server \gset
SELECT set_config('app.current_user_id', :me, false);
\endif

-- name: alone
{query};

-- name: in_transaction
BEGIN;
SELECT set_config('app.current_user_id', :me, true);
{query};
COMMIT;
