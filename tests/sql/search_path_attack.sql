-- A caller who puts types, functions and operators of their own first runs nothing as anyone else.
\ir begin.psql
\ir tenants.psql
SELECT plan(9);

-- The caller has what PUBLIC is denied here: a temporary schema, and a schema to make objects in.
-- Whatever of theirs runs as someone else leaves that name in test.trapped.
DO $$
BEGIN
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO portal_app', current_database());
END;
$$;
CREATE SCHEMA attack AUTHORIZATION portal_app;

SET LOCAL ROLE portal_app;
SET LOCAL app.current_user_id = 'a0000000-0000-0000-0000-000000000001';

CREATE FUNCTION attack.trap() RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF current_user <> 'portal_app' THEN
        PERFORM pg_catalog.set_config('test.trapped', current_user, true);
    END IF;
    RETURN true;
END;
$$;
GRANT USAGE ON SCHEMA attack TO PUBLIC;

CREATE DOMAIN pg_temp.uuid AS pg_catalog.uuid CHECK (attack.trap());
CREATE DOMAIN pg_temp.bytea AS pg_catalog.bytea CHECK (attack.trap());
CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (attack.trap());
CREATE DOMAIN pg_temp.int4 AS pg_catalog.int4 CHECK (attack.trap());
CREATE TABLE attack.users (id pg_catalog.uuid, is_active boolean, role pg_catalog.text);
INSERT INTO attack.users VALUES ('a0000000-0000-0000-0000-000000000001', true, 'super_admin');

CREATE FUNCTION attack.current_app_user_id() RETURNS pg_catalog.uuid LANGUAGE plpgsql AS $$
BEGIN
    PERFORM attack.trap();
    RETURN 'f0000000-0000-0000-0000-000000000001';
END;
$$;
CREATE FUNCTION attack.current_setting(pg_catalog.text, boolean) RETURNS pg_catalog.text
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM attack.trap();
    RETURN 'f0000000-0000-0000-0000-000000000001';
END;
$$;
CREATE FUNCTION attack.uuid_generate_v4() RETURNS pg_catalog.uuid LANGUAGE plpgsql AS $$
BEGIN
    PERFORM attack.trap();
    RETURN '00000000-0000-0000-0000-000000000000';
END;
$$;
CREATE FUNCTION attack.same(pg_catalog.uuid, pg_catalog.uuid) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    PERFORM attack.trap();
    RETURN true;
END;
$$;
CREATE OPERATOR attack.= (
    LEFTARG = pg_catalog.uuid, RIGHTARG = pg_catalog.uuid, FUNCTION = attack.same
);

-- The trap works: a function such as the spec's, without a pinned search path, falls into it
RESET ROLE;
CREATE FUNCTION public.unpinned() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_id uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    RETURN v_id IS NOT NULL;
END;
$$;
ALTER FUNCTION public.unpinned() OWNER TO mcp_admin;
GRANT EXECUTE ON FUNCTION public.unpinned() TO portal_app;
SET LOCAL ROLE portal_app;
SET LOCAL search_path = attack, pg_temp, tap, public, pg_catalog;
SELECT ok(public.unpinned(), 'a definer function without a pinned search path answers');
SELECT is(
    current_setting('test.trapped'), 'mcp_admin'::pg_catalog.text, 'and has run a caller''s code as the owner'
);
SET LOCAL test.trapped = '';

-- Ours do not
SELECT is(
    (SELECT r.user_id FROM public.app_reach AS r),
    'a0000000-0000-0000-0000-000000000001'::pg_catalog.uuid,
    'the context is alpha still'
);
SELECT ok(public.app_narrowed_to() IS NULL, 'nobody is narrowed');
SELECT is(public.app_team_ids(), '{1a000000-0000-0000-0000-000000000001}'::pg_catalog.uuid [], 'alpha''s team');
SELECT isnt(
    public.create_audit_log(NULL, 'login', NULL, NULL, NULL, NULL, 'an agent')::pg_catalog.text,
    '00000000-0000-0000-0000-000000000000'::pg_catalog.text, 'the id of an audit entry is its own'
);
SELECT results_eq(
    'SELECT azure_oid::pg_catalog.text FROM public.users', ARRAY['alpha'::pg_catalog.text],
    'the policies show alpha alone'
);
SELECT is(
    public.decrypt_sensitive_data(public.encrypt_sensitive_data('x', repeat('k', 16)), repeat('k', 16)),
    'x'::pg_catalog.text, 'encryption works'
);
SELECT is(
    current_setting('test.trapped'), ''::pg_catalog.text, 'and nothing of the caller''s ran as anyone else'
);

SELECT finish();
ROLLBACK;
