-- Who acts, and goes on acting: asked by functions that then change what is the user's.
-- depends: 0006_users_policies 0034_reach 0050_require_app_user
--
-- Between two statements of a function its user could be deactivated, and the second would see
-- nothing, or be refused by a policy. FOR SHARE lets others of the same user go on, and whoever
-- deactivates or erases them wait until this transaction ends. It also makes one order of it: an
-- audit entry has a foreign key to its user, so the configuration would be held first and the user
-- after, and erasing goes the other way.

CREATE FUNCTION public.hold_app_user() RETURNS uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user_id uuid := public.require_app_user();
BEGIN
    PERFORM 1
    FROM public.users AS u
    WHERE u.id = v_user_id
    FOR SHARE;
    -- Whoever was deactivated while this waited is nobody now.
    RETURN public.require_app_user();
END;
$$;

GRANT EXECUTE ON FUNCTION public.hold_app_user() TO portal_app;

COMMENT ON FUNCTION public.hold_app_user() IS
'Returns the user of this transaction, or refuses where none is active, and keeps them active until the transaction '
'ends: whoever deactivates or erases them waits.
Errors: PT401 no active user acts.
Example: SELECT hold_app_user();';
