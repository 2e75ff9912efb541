-- What the owner sets for the whole database, such as how far a team_admin reaches.
-- depends: 0001_default_privileges
-- no-rls: it holds no tenant's rows; only the owner writes it and portal_api reads it.
--
-- A table and not a server's setting: whoever holds a service's login may SET those for their own
-- session, and would lift what narrows them.

CREATE TABLE public.settings (
    name        varchar(63) NOT NULL,
    value       text        NOT NULL,
    description text        NOT NULL,

    CONSTRAINT settings_pkey PRIMARY KEY (name),
    CONSTRAINT valid_team_admin_scope CHECK (
        name <> 'team_admin_scope' OR value IN ('everyone', 'teams')
    )
);

GRANT SELECT ON public.settings TO portal_api;

COMMENT ON TABLE  public.settings             IS 'Settings of the whole database, changed by the owner.';
COMMENT ON COLUMN public.settings.name        IS 'The setting''s name.';
COMMENT ON COLUMN public.settings.value       IS 'Its value; each setting has a constraint that says which are valid.';
COMMENT ON COLUMN public.settings.description IS 'What it decides, and what its values mean.';

INSERT INTO public.settings (name, value, description) VALUES
(
    'team_admin_scope',
    'everyone',
    'Whom a team_admin reaches: everyone, or (teams) the members of teams that they administer.'
);
