-- Who is asked into which team, and has not answered yet.
-- depends: 0004_users 0011_teams
--
-- A team's admin may reach what its members have set (functions/0033_app_reach), so nobody is put
-- into a team: an admin invites, and the invited accepts. Services read it; functions write it.

CREATE TABLE public.team_invitations (
    team_id    uuid        NOT NULL,
    user_id    uuid        NOT NULL,
    role       varchar(50) NOT NULL DEFAULT 'member',
    invited_by uuid        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,

    CONSTRAINT team_invitations_pkey PRIMARY KEY (team_id, user_id),
    CONSTRAINT team_invitations_team_id_fkey FOREIGN KEY (team_id)
        REFERENCES public.teams (id) ON DELETE CASCADE,
    CONSTRAINT team_invitations_user_id_fkey FOREIGN KEY (user_id)
        REFERENCES public.users (id) ON DELETE CASCADE,
    CONSTRAINT team_invitations_invited_by_fkey FOREIGN KEY (invited_by)
        REFERENCES public.users (id) ON DELETE CASCADE,
    CONSTRAINT valid_invited_role CHECK (role = ANY (ARRAY['member'::text, 'admin']))
);

-- The policies ask for a user's invitations, and the foreign keys need both.
CREATE INDEX idx_team_invitations_user_id ON public.team_invitations (user_id);
CREATE INDEX idx_team_invitations_invited_by ON public.team_invitations (invited_by);

ALTER TABLE public.team_invitations ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.team_invitations FORCE ROW LEVEL SECURITY;

GRANT SELECT ON public.team_invitations TO portal_app;
GRANT
    SELECT (team_id, user_id, role, invited_by),
    INSERT (team_id, user_id, role, invited_by),
    DELETE
    ON public.team_invitations TO portal_api;

COMMENT ON TABLE  public.team_invitations            IS 'Invitations into teams that wait for an answer.';
COMMENT ON COLUMN public.team_invitations.team_id    IS 'The team.';
COMMENT ON COLUMN public.team_invitations.user_id    IS 'Who is invited.';
COMMENT ON COLUMN public.team_invitations.role       IS 'What the user will be in the team: member or admin.';
COMMENT ON COLUMN public.team_invitations.invited_by IS 'Who invited.';
COMMENT ON COLUMN public.team_invitations.created_at IS 'When it was sent.';
