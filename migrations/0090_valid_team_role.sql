-- A role in a team is member or admin: what app_narrowed_to asks for is spelt in one way.
-- depends: 0012_team_members
--
-- NOT VALID, so that no row is read under a lock; 0091 reads them beside everyone's work.

ALTER TABLE public.team_members
    ADD CONSTRAINT valid_team_role CHECK (role = ANY (ARRAY['member'::text, 'admin'])) NOT VALID;
