-- Drops the invitations into teams.
-- loses: invitations that wait for an answer

DROP TABLE public.team_invitations;
