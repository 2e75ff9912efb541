-- Makes the constraint again as one that holds for new rows.

ALTER TABLE public.team_members DROP CONSTRAINT valid_team_role;
ALTER TABLE public.team_members
    ADD CONSTRAINT valid_team_role CHECK (role = ANY (ARRAY['member'::text, 'admin'])) NOT VALID;
