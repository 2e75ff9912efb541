-- Every member of a team has a role that valid_team_role knows.
-- depends: 0090_valid_team_role

ALTER TABLE public.team_members VALIDATE CONSTRAINT valid_team_role;
