-- Teams of users.
-- depends: 0004_users
--
-- Services read teams; who may make and change one is for functions that check the caller.

CREATE TABLE public.teams (
    id          uuid         NOT NULL DEFAULT public.uuid_generate_v4(),
    name        varchar(255) NOT NULL,
    description text,
    created_by  uuid,
    created_at  timestamptz           DEFAULT CURRENT_TIMESTAMP,
    is_active   boolean               DEFAULT true,

    CONSTRAINT teams_pkey PRIMARY KEY (id),
    CONSTRAINT teams_created_by_fkey FOREIGN KEY (created_by) REFERENCES public.users (id)
);

-- Ours: without it, deleting a user reads every team.
CREATE INDEX idx_teams_created_by ON public.teams (created_by);

ALTER TABLE public.teams ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.teams FORCE ROW LEVEL SECURITY;

GRANT SELECT ON public.teams TO portal_app;

COMMENT ON TABLE  public.teams             IS 'Teams of users.';
COMMENT ON COLUMN public.teams.id          IS 'The team''s id.';
COMMENT ON COLUMN public.teams.name        IS 'The team''s name.';
COMMENT ON COLUMN public.teams.description IS 'What the team is for.';
COMMENT ON COLUMN public.teams.created_by  IS 'Who made the team.';
COMMENT ON COLUMN public.teams.created_at  IS 'When the team was made.';
COMMENT ON COLUMN public.teams.is_active   IS 'False once the team was disbanded.';
