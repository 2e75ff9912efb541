-- The people who use the portal, one row an Azure object id.
-- depends: 0001_default_privileges 0002_update_updated_at
--
-- portal_app cannot insert, delete, or change role, is_active, azure_oid and email: who someone is
-- and what they may do is decided by Azure and by functions that check the caller.

CREATE TABLE public.users (
    id            uuid         NOT NULL DEFAULT public.uuid_generate_v4(),
    azure_oid     varchar(255) NOT NULL,
    email         varchar(255) NOT NULL,
    display_name  varchar(255),
    role          varchar(50)  NOT NULL DEFAULT 'standard_user',
    metadata      jsonb                 DEFAULT '{}',
    created_at    timestamptz           DEFAULT CURRENT_TIMESTAMP,
    updated_at    timestamptz           DEFAULT CURRENT_TIMESTAMP,
    last_login_at timestamptz,
    is_active     boolean               DEFAULT true,

    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_azure_oid_key UNIQUE (azure_oid),
    -- = ANY over text, because IN over varchar reads differently after a dump and restore.
    CONSTRAINT valid_role CHECK (
        role = ANY (ARRAY['super_admin'::text, 'team_admin', 'standard_user'])
    )
);

CREATE INDEX idx_users_azure_oid ON public.users (azure_oid);
CREATE INDEX idx_users_email ON public.users (email);
CREATE INDEX idx_users_role ON public.users (role) WHERE is_active = true;
CREATE INDEX idx_active_users ON public.users (role, is_active) WHERE is_active = true;

CREATE TRIGGER update_users_updated_at
    BEFORE UPDATE ON public.users
    FOR EACH ROW EXECUTE FUNCTION public.update_updated_at();

-- Here and not in policies/: RLS without a policy denies every row.
ALTER TABLE public.users ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.users FORCE ROW LEVEL SECURITY;

GRANT SELECT, UPDATE (display_name, metadata) ON public.users TO portal_app;
GRANT SELECT (id, is_active) ON public.users TO portal_runner;
GRANT SELECT (id, role, is_active), INSERT (azure_oid, email, display_name, metadata)
    ON public.users TO portal_api;

COMMENT ON TABLE  public.users               IS 'People who use the portal.';
COMMENT ON COLUMN public.users.id            IS 'The user''s id here: the value of app.current_user_id.';
COMMENT ON COLUMN public.users.azure_oid     IS 'Object id in Azure AD; never changes for a person.';
COMMENT ON COLUMN public.users.email         IS 'Address as Azure told it at the last sign-in.';
COMMENT ON COLUMN public.users.display_name  IS 'Name to show.';
COMMENT ON COLUMN public.users.role          IS 'super_admin, team_admin or standard_user.';
COMMENT ON COLUMN public.users.metadata      IS 'Free attributes, never secrets.';
COMMENT ON COLUMN public.users.created_at    IS 'When the row was made.';
COMMENT ON COLUMN public.users.updated_at    IS 'When the row last changed; kept by a trigger.';
COMMENT ON COLUMN public.users.last_login_at IS 'When the user last signed in.';
COMMENT ON COLUMN public.users.is_active     IS 'False, or unknown, shuts the user out of everything.';
