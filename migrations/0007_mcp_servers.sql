-- The catalog of MCP servers: the predefined ones, and the custom ones that users add.
-- depends: 0002_update_updated_at 0004_users
--
-- The index on created_by is ours: the policy asks by it, and the foreign key needs it.

CREATE TABLE public.mcp_servers (
    id           uuid         NOT NULL DEFAULT public.uuid_generate_v4(),
    name         varchar(255) NOT NULL,
    display_name varchar(255),
    description  text,
    image        varchar(500) NOT NULL,
    catalog_type varchar(50)  NOT NULL DEFAULT 'predefined',
    category     varchar(100),
    tags         text[],
    metadata     jsonb                 DEFAULT '{}',
    version      varchar(50),
    created_by   uuid,
    created_at   timestamptz           DEFAULT CURRENT_TIMESTAMP,
    updated_at   timestamptz           DEFAULT CURRENT_TIMESTAMP,
    is_active    boolean               DEFAULT true,

    CONSTRAINT mcp_servers_pkey PRIMARY KEY (id),
    CONSTRAINT mcp_servers_created_by_fkey FOREIGN KEY (created_by) REFERENCES public.users (id),
    CONSTRAINT valid_catalog_type CHECK (catalog_type = ANY (ARRAY['predefined'::text, 'custom'])),
    CONSTRAINT unique_server_name UNIQUE (name, catalog_type)
);

CREATE INDEX idx_mcp_servers_name ON public.mcp_servers (name);
CREATE INDEX idx_mcp_servers_catalog_type ON public.mcp_servers (catalog_type);
CREATE INDEX idx_mcp_servers_tags ON public.mcp_servers USING gin (tags);
CREATE INDEX idx_mcp_servers_created_by ON public.mcp_servers (created_by);

CREATE TRIGGER update_mcp_servers_updated_at
    BEFORE UPDATE ON public.mcp_servers
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at();

ALTER TABLE public.mcp_servers ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.mcp_servers FORCE ROW LEVEL SECURITY;

GRANT
    SELECT,
    INSERT (
        name, display_name, description, image, catalog_type, category, tags, metadata, version,
        created_by
    ),
    UPDATE (display_name, description, image, category, tags, metadata, version, is_active),
    DELETE
    ON public.mcp_servers TO portal_app;
GRANT SELECT ON public.mcp_servers TO portal_runner;

COMMENT ON TABLE  public.mcp_servers              IS 'Catalog of MCP servers that users can enable.';
COMMENT ON COLUMN public.mcp_servers.id           IS 'The server''s id.';
COMMENT ON COLUMN public.mcp_servers.name         IS 'Short name, unique within its catalog type.';
COMMENT ON COLUMN public.mcp_servers.display_name IS 'Name to show.';
COMMENT ON COLUMN public.mcp_servers.description  IS 'What the server does.';
COMMENT ON COLUMN public.mcp_servers.image        IS 'Docker image reference.';
COMMENT ON COLUMN public.mcp_servers.catalog_type IS 'predefined: everyone''s; custom: its maker''s own.';
COMMENT ON COLUMN public.mcp_servers.category     IS 'Group to show it in.';
COMMENT ON COLUMN public.mcp_servers.tags         IS 'Words to find it by.';
COMMENT ON COLUMN public.mcp_servers.metadata     IS 'Further settings of the server, never secrets.';
COMMENT ON COLUMN public.mcp_servers.version      IS 'Version of the server.';
COMMENT ON COLUMN public.mcp_servers.created_by   IS 'Who added a custom server; NULL for a predefined one.';
COMMENT ON COLUMN public.mcp_servers.created_at   IS 'When the row was made.';
COMMENT ON COLUMN public.mcp_servers.updated_at   IS 'When the row last changed; kept by a trigger.';
COMMENT ON COLUMN public.mcp_servers.is_active    IS 'False takes the server out of use.';
