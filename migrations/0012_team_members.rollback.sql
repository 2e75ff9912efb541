-- Drops the memberships of teams.
-- loses: who belongs to which team

DROP TABLE public.team_members;
