-- Drops the teams.
-- loses: every team

DROP TABLE public.teams;
