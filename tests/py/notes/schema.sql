-- A second, small product: tenants who are numbers, their notes and comments, a trail by year.
--
-- Run as a superuser in a database of its own, after the roles notes_owner and notes_app were made.

DO $$ BEGIN EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()); END $$;
CREATE SCHEMA notes AUTHORIZATION notes_owner;
SET LOCAL ROLE notes_owner;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
GRANT USAGE ON SCHEMA notes TO notes_app;

CREATE FUNCTION notes.current_tenant() RETURNS integer STABLE LANGUAGE sql
RETURN nullif(current_setting('notes.tenant', true), '')::integer;
GRANT EXECUTE ON FUNCTION notes.current_tenant() TO notes_app;

CREATE TABLE notes.tenants (
    id    integer NOT NULL PRIMARY KEY,
    name  text    NOT NULL,
    email text
);
ALTER TABLE notes.tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE notes.tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY tenants_owner ON notes.tenants TO notes_owner USING (true);
CREATE POLICY tenants_own ON notes.tenants FOR SELECT TO notes_app
    USING (id = (SELECT notes.current_tenant()));
GRANT SELECT (id, name) ON notes.tenants TO notes_app;

-- A tenant may rewrite a note as a whole, and not give it to another one.
CREATE TABLE notes.notes (
    id     integer NOT NULL PRIMARY KEY,
    tenant integer NOT NULL REFERENCES notes.tenants (id),
    public boolean NOT NULL DEFAULT false,
    body   text
);
CREATE INDEX notes_tenant ON notes.notes (tenant);
ALTER TABLE notes.notes ENABLE ROW LEVEL SECURITY;
ALTER TABLE notes.notes FORCE ROW LEVEL SECURITY;
CREATE POLICY notes_owner ON notes.notes TO notes_owner USING (true);
CREATE POLICY notes_read ON notes.notes FOR SELECT TO notes_app
    USING (tenant = (SELECT notes.current_tenant()));
CREATE POLICY notes_add ON notes.notes FOR INSERT TO notes_app
    WITH CHECK (tenant = (SELECT notes.current_tenant()));
CREATE POLICY notes_change ON notes.notes FOR UPDATE TO notes_app
    USING (tenant = (SELECT notes.current_tenant()));
CREATE POLICY notes_remove ON notes.notes FOR DELETE TO notes_app
    USING (tenant = (SELECT notes.current_tenant()));
GRANT SELECT, INSERT (id, tenant, public, body), UPDATE (tenant, body), DELETE ON notes.notes TO notes_app;

CREATE TABLE notes.comments (
    id     integer NOT NULL PRIMARY KEY,
    note   integer NOT NULL REFERENCES notes.notes (id) ON DELETE CASCADE,
    tenant integer NOT NULL REFERENCES notes.tenants (id),
    body   text
);
CREATE INDEX comments_note ON notes.comments (note);
CREATE INDEX comments_tenant ON notes.comments (tenant);
ALTER TABLE notes.comments ENABLE ROW LEVEL SECURITY;
ALTER TABLE notes.comments FORCE ROW LEVEL SECURITY;
CREATE POLICY comments_owner ON notes.comments TO notes_owner USING (true);
CREATE POLICY comments_own ON notes.comments TO notes_app
    USING (tenant = (SELECT notes.current_tenant()));
GRANT SELECT, INSERT (id, note, tenant, body), UPDATE (body), DELETE ON notes.comments TO notes_app;

CREATE TABLE notes.events (
    id     integer NOT NULL,
    year   integer NOT NULL,
    tenant integer NOT NULL,
    what   text    NOT NULL,
    PRIMARY KEY (id, year)
) PARTITION BY RANGE (year);
CREATE TABLE notes.events_2026 PARTITION OF notes.events FOR VALUES FROM (2026) TO (2027);
CREATE TABLE notes.events_2027 PARTITION OF notes.events FOR VALUES FROM (2027) TO (2028);
CREATE INDEX events_tenant ON notes.events (tenant);
ALTER TABLE notes.events ENABLE ROW LEVEL SECURITY;
ALTER TABLE notes.events FORCE ROW LEVEL SECURITY;
ALTER TABLE notes.events_2026 ENABLE ROW LEVEL SECURITY;
ALTER TABLE notes.events_2027 ENABLE ROW LEVEL SECURITY;
CREATE POLICY events_owner ON notes.events TO notes_owner USING (true);
CREATE POLICY events_own ON notes.events FOR SELECT TO notes_app
    USING (tenant = (SELECT notes.current_tenant()));
GRANT SELECT ON notes.events TO notes_app;

-- Tenants write the trail through this alone.
CREATE FUNCTION notes.record_event(p_id integer, p_what text) RETURNS void
SECURITY DEFINER SET search_path = pg_catalog, pg_temp LANGUAGE sql AS $$
    INSERT INTO notes.events (id, year, tenant, what) VALUES (p_id, 2026, notes.current_tenant(), p_what)
$$;
GRANT EXECUTE ON FUNCTION notes.record_event(integer, text) TO notes_app;

CREATE VIEW notes.tenant_overview WITH (security_invoker = true) AS
SELECT
    t.id,
    t.name,
    (SELECT count(*) FROM notes.notes AS n WHERE n.tenant = t.id) AS notes
FROM notes.tenants AS t;
GRANT SELECT ON notes.tenant_overview TO notes_app;

RESET ROLE;
