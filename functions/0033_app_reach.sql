-- Whom this transaction's user reaches: themselves while active, and as an admin others.
-- depends: 0006_users_policies 0018_teams_policies 0032_settings
--
-- A view, where functions stood before: the policies ask it under a scalar sub-select, so that it
-- is part of the statement's own plan. A SECURITY DEFINER function that pins its search path costs
-- more wherever statements are prepared (docs/benchmark-isolation.md). It reads users as
-- portal_api, whose own policy there is a plain true, so the policies on users may ask it without
-- recursion. Whoever reads it sees the one row of the context, and security_barrier keeps a
-- function of theirs from seeing more.

CREATE FUNCTION public.app_narrowed_to() RETURNS uuid[]
LANGUAGE plpgsql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- Without the row too a team_admin is narrowed: what is missing opens nothing.
    IF (SELECT s.value FROM public.settings AS s WHERE s.name = 'team_admin_scope') = 'everyone' THEN
        RETURN NULL;
    END IF;
    RETURN ARRAY(
        SELECT led.user_id
        FROM public.users AS u
        INNER JOIN public.team_members AS mine ON u.id = mine.user_id
        INNER JOIN public.teams AS t ON mine.team_id = t.id
        INNER JOIN public.team_members AS led ON mine.team_id = led.team_id
        WHERE
            u.id = public.current_app_user_id()
            AND u.is_active
            AND u.role = 'team_admin'
            AND mine.role = 'admin'
            AND t.is_active
    );
END;
$$;

CREATE VIEW public.app_reach WITH (security_barrier = true) AS
SELECT
    u.id AS user_id,
    CASE u.role
        WHEN 'team_admin' THEN u.id || public.app_narrowed_to()
        ELSE ARRAY[u.id]
    END AS user_ids,
    CASE u.role
        WHEN 'super_admin' THEN '00000000-0000-0000-0000-000000000000'::uuid
        WHEN 'team_admin' THEN
            CASE
                WHEN public.app_narrowed_to() IS NULL
                    THEN '00000000-0000-0000-0000-000000000000'::uuid
            END
    END AS everyone_from
FROM public.users AS u
-- current_app_user_id() to the letter: the call would be unfolded anew whenever a statement is
-- planned.
WHERE u.id = nullif(current_setting('app.current_user_id', true), '')::uuid AND u.is_active;

GRANT SELECT (user_id, team_id, role) ON public.team_members TO portal_api;
GRANT SELECT (id, is_active) ON public.teams TO portal_api;
GRANT EXECUTE ON FUNCTION public.app_narrowed_to() TO portal_app;
GRANT SELECT ON public.app_reach TO portal_app;

-- A new owner needs CREATE on the schema at the moment it is given the object, and not after.
GRANT CREATE ON SCHEMA public TO portal_api;
ALTER FUNCTION public.app_narrowed_to() OWNER TO portal_api;
ALTER VIEW public.app_reach OWNER TO portal_api;
REVOKE CREATE ON SCHEMA public FROM portal_api;

-- A view over one table could be written through; this one is to be read, by its owner too.
REVOKE ALL ON public.app_reach FROM portal_api;
GRANT SELECT ON public.app_reach TO portal_api;

COMMENT ON FUNCTION public.app_narrowed_to() IS
'Ids of the members of the active teams that an active team_admin, the user of the context, is an admin of; NULL '
'while a team_admin reaches everyone.';
COMMENT ON VIEW public.app_reach IS
'Whom the user of the context reaches; no row without an active one.';
COMMENT ON COLUMN public.app_reach.user_id IS 'The user of the context.';
COMMENT ON COLUMN public.app_reach.user_ids IS
'The user, and of a narrowed team_admin the members of their teams.';
COMMENT ON COLUMN public.app_reach.everyone_from IS
'The lowest UUID of a user who reaches everyone, else NULL; policies write BETWEEN this AND the highest.';
