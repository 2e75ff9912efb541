-- A second, small product: notes of tenants who are numbers, some of them public.

CREATE SCHEMA notes;
GRANT USAGE ON SCHEMA notes TO portal_app;

CREATE TABLE notes.notes (
    id     integer NOT NULL PRIMARY KEY,
    tenant integer NOT NULL,
    public boolean NOT NULL DEFAULT false,
    body   text,

    CONSTRAINT short_body CHECK (length(body) < 1000)
);
CREATE INDEX notes_tenant ON notes.notes (tenant);
ALTER TABLE notes.notes ENABLE ROW LEVEL SECURITY;
ALTER TABLE notes.notes FORCE ROW LEVEL SECURITY;
GRANT SELECT, INSERT (id, tenant, body), UPDATE (body), DELETE ON notes.notes TO portal_app;

CREATE POLICY notes_own ON notes.notes
    TO portal_app
    USING (tenant = (SELECT nullif(current_setting('notes.tenant', true), '')::integer));
