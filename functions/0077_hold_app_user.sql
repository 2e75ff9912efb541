-- Who acts, and goes on acting: asked by functions that then change what is the user's.
-- depends: 0006_users_policies 0034_reach 0050_require_app_user
--
-- An audit entry has a foreign key to its user, so whoever changes a configuration and audits it
-- holds the configuration first and the user after. Erasing a user goes the other way. Holding the
-- user first, as the key does in the end, makes it one order.

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
    FOR KEY SHARE;
    -- Whoever was erased while this waited is nobody now.
    RETURN public.require_app_user();
END;
$$;

GRANT EXECUTE ON FUNCTION public.hold_app_user() TO portal_app;

COMMENT ON FUNCTION public.hold_app_user() IS
'Returns the user of this transaction, or refuses where none is active, and keeps them from being erased until the '
'transaction ends.
Errors: PT401 no active user acts.
Example: SELECT hold_app_user();';
