-- An erased user is invited nowhere any more, and what they sent out goes too.
-- depends: 0064_erase_user 0092_team_invitations 0094_team_changes

CREATE POLICY team_invitations_api_erase_read ON public.team_invitations
    FOR SELECT TO portal_api
    USING (
        EXISTS (
            SELECT 1
            FROM public.users AS u
            WHERE u.id IN (user_id, invited_by) AND u.erased_at IS NOT NULL
        )
    );

CREATE POLICY team_invitations_api_erase ON public.team_invitations
    FOR DELETE TO portal_api
    USING (
        EXISTS (
            SELECT 1
            FROM public.users AS u
            WHERE u.id IN (user_id, invited_by) AND u.erased_at IS NOT NULL
        )
    );

CREATE TRIGGER refuse_erased_user
    AFTER INSERT ON public.team_invitations
    FOR EACH ROW EXECUTE FUNCTION public.refuse_erased_user();

CREATE OR REPLACE FUNCTION public.erase_user(p_user_id uuid) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_actor_id uuid := public.require_app_user();
    v_user     record;
    v_sessions integer;
    v_configs  integer;
    v_servers  integer;
BEGIN
    IF p_user_id IS DISTINCT FROM v_actor_id THEN
        PERFORM public.require_super_admin();
    END IF;
    SELECT l.role, l.is_active, l.is_last INTO v_user
    FROM public.lock_user(p_user_id) AS l;
    IF p_user_id IS DISTINCT FROM v_actor_id THEN
        PERFORM public.require_super_admin();
    ELSE
        PERFORM public.require_app_user();
    END IF;
    PERFORM public.refuse_last_super_admin(v_user.is_last);

    UPDATE public.users AS u
    SET
        azure_oid = 'erased:' || u.id,
        email = 'erased',
        display_name = NULL,
        role = 'standard_user',
        metadata = '{}',
        last_login_at = NULL,
        is_active = false,
        erased_at = CURRENT_TIMESTAMP
    WHERE u.id = p_user_id;

    DELETE FROM public.user_sessions AS s WHERE s.user_id = p_user_id;
    GET DIAGNOSTICS v_sessions = ROW_COUNT;
    DELETE FROM public.user_server_configs AS c WHERE c.user_id = p_user_id;
    GET DIAGNOSTICS v_configs = ROW_COUNT;
    DELETE FROM public.mcp_servers AS s
    WHERE s.created_by = p_user_id AND s.catalog_type = 'custom';
    GET DIAGNOSTICS v_servers = ROW_COUNT;
    DELETE FROM public.team_members AS m WHERE m.user_id = p_user_id;
    DELETE FROM public.team_invitations AS i WHERE i.user_id = p_user_id OR i.invited_by = p_user_id;

    PERFORM public.create_audit_log(
        NULL, 'user_erased', 'user', p_user_id,
        jsonb_build_object(
            'sessions', v_sessions, 'configs', v_configs, 'custom_servers', v_servers
        ),
        NULL, NULL
    );
    RETURN 'erased';
END;
$$;

COMMENT ON POLICY team_invitations_api_erase_read ON public.team_invitations IS
'The functions of portal_api find the invitations of who was erased.';
COMMENT ON POLICY team_invitations_api_erase ON public.team_invitations IS
'The functions of portal_api delete the invitations of who was erased.';
COMMENT ON TRIGGER refuse_erased_user ON public.team_invitations IS
'Nobody is invited who was erased at that moment.';
COMMENT ON FUNCTION public.erase_user(uuid) IS
'Erases a user, for themselves or a super_admin: sessions, configurations, custom servers, memberships and '
'invitations are deleted, the personal data in users blanked. The row stays, deactivated for ever, because the audit trail points at it; addresses, '
'programs, and names and images of custom servers in the trail go with its retention. Who signs in again is a new user. Returns erased.
Audits: user_erased.
Errors: PT401 no active user acts; PT403 another user, and the caller is no super_admin; PT404 there is no such user, or '
'they were erased before; PT409 it is the last super_admin.
Example: SELECT erase_user(''7f3a4a52-0d6b-4c4e-9d0f-6a6a0f1d2c3b'');';
