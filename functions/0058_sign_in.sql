-- A person comes in: by the id that Azure gave them, made known at the first time.
-- depends: 0050_require_app_user 0051_create_audit_log_in_context 0057_people_api_policies
--
-- The service has checked with Azure who it is; nothing here can. A refusal is returned and not
-- raised, so that its audit entry is committed.

CREATE FUNCTION public.sign_in(
    p_azure_oid text,
    p_email text,
    p_display_name text DEFAULT NULL,
    p_metadata jsonb DEFAULT NULL
) RETURNS TABLE (outcome text, user_id uuid, role text, is_new boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_ip_address inet := nullif(current_setting('app.ip_address', true), '')::inet;
    v_user_agent text := nullif(current_setting('app.user_agent', true), '');
    v_user       record;
    v_is_new     boolean := false;
    v_changed    text[];
BEGIN
    IF coalesce(length(p_azure_oid), 0) NOT BETWEEN 1 AND 255
        OR p_azure_oid LIKE 'erased:%'
        OR coalesce(length(p_email), 0) NOT BETWEEN 1 AND 255
        OR length(p_display_name) > 255
    THEN
        RAISE EXCEPTION 'this is no person to sign in'
            USING
                ERRCODE = 'PT400',
                DETAIL = 'p_azure_oid and p_email are needed, and no text has more than 255 letters.',
                HINT = 'Pass oid, email and name of the token that Azure issued.';
    END IF;
    IF jsonb_typeof(p_metadata) <> 'object' OR octet_length(p_metadata::text) > 16384 THEN
        RAISE EXCEPTION 'p_metadata is no small JSON object'
            USING
                ERRCODE = 'PT400',
                DETAIL = format(
                    'It is %s of %s bytes.', jsonb_typeof(p_metadata), octet_length(p_metadata::text)
                ),
                HINT = 'Pass an object of 16384 bytes at most, or NULL to keep what is there.';
    END IF;

    INSERT INTO public.users (azure_oid, email, display_name, metadata)
    VALUES (p_azure_oid, p_email, p_display_name, coalesce(p_metadata, '{}'))
    ON CONFLICT (azure_oid) DO NOTHING;
    v_is_new := FOUND;

    SELECT u.id INTO v_user
    FROM public.users AS u
    WHERE u.azure_oid = p_azure_oid;
    PERFORM public.set_app_context(v_user.id, v_ip_address, v_user_agent);

    -- Locked and read anew: whoever deactivates the user meanwhile comes before this or after it.
    SELECT u.id, u.role, u.is_active, u.email, u.display_name, u.metadata INTO v_user
    FROM public.users AS u
    WHERE u.id = v_user.id
    FOR NO KEY UPDATE;

    IF v_user.is_active IS NOT TRUE THEN
        PERFORM public.create_audit_log(
            NULL, 'login_refused', 'user', v_user.id, '{"reason": "deactivated"}', NULL, NULL
        );
        PERFORM public.set_app_context(NULL, v_ip_address, v_user_agent);
        RETURN QUERY SELECT 'refused', NULL::uuid, NULL::text, false;
        RETURN;
    END IF;

    v_changed := array_remove(
        ARRAY[
            CASE WHEN v_user.email <> p_email THEN 'email' END,
            CASE
                WHEN p_display_name IS DISTINCT FROM v_user.display_name AND p_display_name IS NOT NULL
                    THEN 'display_name'
            END,
            CASE
                WHEN p_metadata IS DISTINCT FROM v_user.metadata AND p_metadata IS NOT NULL
                    THEN 'metadata'
            END
        ],
        NULL
    );
    UPDATE public.users AS u
    SET
        email = p_email,
        display_name = coalesce(p_display_name, u.display_name),
        metadata = coalesce(p_metadata, u.metadata),
        last_login_at = CURRENT_TIMESTAMP
    WHERE u.id = v_user.id;

    IF v_is_new THEN
        PERFORM public.create_audit_log(NULL, 'user_created', 'user', v_user.id, '{}', NULL, NULL);
    ELSIF v_changed <> '{}' THEN
        PERFORM public.create_audit_log(
            NULL, 'user_updated', 'user', v_user.id, jsonb_build_object('changed', v_changed),
            NULL, NULL
        );
    END IF;
    PERFORM public.create_audit_log(NULL, 'login', 'user', v_user.id, '{}', NULL, NULL);

    RETURN QUERY SELECT 'signed_in', v_user.id, v_user.role::text, v_is_new;
END;
$$;

GRANT EXECUTE ON FUNCTION public.sign_in(text, text, text, jsonb) TO portal_app;

-- A new owner needs CREATE on the schema at the moment it is given the function, and not after.
GRANT CREATE ON SCHEMA public TO portal_api;
ALTER FUNCTION public.sign_in(text, text, text, jsonb) OWNER TO portal_api;
REVOKE CREATE ON SCHEMA public FROM portal_api;

COMMENT ON FUNCTION public.sign_in(text, text, text, jsonb) IS
'Lets in the person whom Azure knows by p_azure_oid: makes a standard_user at the first time, else takes over what '
'changed, and makes them the user of this transaction. The outcome is signed_in, or refused for a deactivated user: '
'commit either, for both are audited. Call set_app_context(NULL, address, program) before it, and create_session() after it. '
'It believes its caller: check the token of Azure first.
Audits: user_created, user_updated, login, login_refused.
Errors: PT400 an argument is missing, too long or no object.
Example: SELECT * FROM sign_in(''00000000-0000-0000-66f3-3332eca7ea81'', ''ada@example.org'', ''Ada'');';
