-- Who acts: asked by every function of the API that needs somebody, so that all refuse alike.
-- depends: 0033_app_reach 0034_reach 0049_set_app_context
--
-- They run as their caller: a service sees its own row of users alone, portal_api sees all.

CREATE FUNCTION public.require_app_user() RETURNS uuid
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user_id uuid := (
        SELECT u.id
        FROM public.users AS u
        WHERE u.id = public.current_app_user_id() AND u.is_active
    );
BEGIN
    IF v_user_id IS NULL THEN
        RAISE EXCEPTION 'no active user acts in this transaction'
            USING
                ERRCODE = 'PT401',
                DETAIL = CASE
                    WHEN public.current_app_user_id() IS NULL THEN 'app.current_user_id is not set.'
                    ELSE 'The user that app.current_user_id names is unknown or deactivated.'
                END,
                HINT = 'Call authenticate() or set_app_context() first, in the same transaction.';
    END IF;
    RETURN v_user_id;
END;
$$;

CREATE FUNCTION public.require_super_admin() RETURNS uuid
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user_id uuid := public.require_app_user();
BEGIN
    IF NOT EXISTS (
        SELECT 1
        FROM public.users AS u
        WHERE u.id = v_user_id AND u.role = 'super_admin'
    ) THEN
        RAISE EXCEPTION 'only a super_admin may do this'
            USING
                ERRCODE = 'PT403',
                DETAIL = 'The user of this transaction has another role.',
                HINT = 'Ask a super_admin. The owner of the database makes the first: portaldb user promote.';
    END IF;
    RETURN v_user_id;
END;
$$;

-- Between two statements of a function its user could be deactivated, and the second would see
-- nothing, or be refused by a policy. FOR SHARE lets others of the same user go on, and whoever
-- deactivates or erases them waits until this transaction ends. It also makes one order of it: an
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

GRANT EXECUTE ON FUNCTION public.require_app_user() TO portal_app, portal_api;
GRANT EXECUTE ON FUNCTION public.require_super_admin() TO portal_app, portal_api;
GRANT EXECUTE ON FUNCTION public.hold_app_user() TO portal_app, portal_api;

COMMENT ON FUNCTION public.require_app_user() IS
'Returns the user of this transaction, or refuses where none is active.
Errors: PT401 no active user acts.
Example: SELECT require_app_user();';
COMMENT ON FUNCTION public.require_super_admin() IS
'Returns the user of this transaction, or refuses where it is no active super_admin.
Errors: PT401 no active user acts; PT403 the user is no super_admin.
Example: SELECT require_super_admin();';
COMMENT ON FUNCTION public.hold_app_user() IS
'Returns the user of this transaction, or refuses where none is active, and keeps them active until the transaction '
'ends: whoever deactivates or erases them waits.
Errors: PT401 no active user acts.
Example: SELECT hold_app_user();';
