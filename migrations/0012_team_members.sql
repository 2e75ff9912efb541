-- Which user belongs to which team, and as what.
-- depends: 0004_users 0011_teams

CREATE TABLE public.team_members (
    id        uuid        NOT NULL DEFAULT public.uuid_generate_v4(),
    team_id   uuid        NOT NULL,
    user_id   uuid        NOT NULL,
    role      varchar(50)          DEFAULT 'member',
    joined_at timestamptz          DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT team_members_pkey PRIMARY KEY (id),
    CONSTRAINT team_members_team_id_fkey FOREIGN KEY (team_id)
        REFERENCES public.teams (id) ON DELETE CASCADE,
    CONSTRAINT team_members_user_id_fkey FOREIGN KEY (user_id)
        REFERENCES public.users (id) ON DELETE CASCADE,
    CONSTRAINT unique_team_member UNIQUE (team_id, user_id)
);

-- Ours: a user's teams are asked for by the policies, and the foreign key needs it.
CREATE INDEX idx_team_members_user_id ON public.team_members (user_id);

ALTER TABLE public.team_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.team_members FORCE ROW LEVEL SECURITY;

GRANT SELECT ON public.team_members TO portal_app;
GRANT SELECT (team_id, user_id) ON public.team_members TO portal_api;

COMMENT ON TABLE  public.team_members           IS 'Membership of users in teams.';
COMMENT ON COLUMN public.team_members.id        IS 'The membership''s id.';
COMMENT ON COLUMN public.team_members.team_id   IS 'The team.';
COMMENT ON COLUMN public.team_members.user_id   IS 'The user.';
COMMENT ON COLUMN public.team_members.role      IS 'What the user is in the team; member unless told.';
COMMENT ON COLUMN public.team_members.joined_at IS 'When the user joined.';
