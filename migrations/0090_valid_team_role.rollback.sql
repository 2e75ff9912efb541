-- Lets any role into a team again.

ALTER TABLE public.team_members DROP CONSTRAINT valid_team_role;
