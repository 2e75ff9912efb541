-- The one way for services to write the audit trail.
-- depends: 0003_current_app_user_id 0010_audit_logs 0016_audit_logs_policies
--
-- It belongs to portal_api, which may insert and not read: hence the id is made before the INSERT
-- and not asked back by RETURNING. The policy on audit_logs would refuse a false name too; here the
-- refusal says why.

CREATE FUNCTION public.create_audit_log(
    p_user_id uuid,
    p_action varchar(100),
    p_resource_type varchar(50),
    p_resource_id uuid,
    p_details jsonb,
    p_ip_address inet,
    p_user_agent text
) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_audit_id uuid := public.uuid_generate_v4();
    v_user_id  uuid := public.current_app_user_id();
BEGIN
    IF p_user_id IS DISTINCT FROM v_user_id AND p_user_id IS NOT NULL THEN
        RAISE EXCEPTION 'an audit entry is written in one''s own name only'
            USING
                ERRCODE = 'insufficient_privilege',
                HINT = 'Set app.current_user_id to the user who acts, and pass the same id or NULL.';
    END IF;

    INSERT INTO public.audit_logs (
        id, user_id, action, resource_type, resource_id,
        details, ip_address, user_agent
    ) VALUES (
        v_audit_id, v_user_id, p_action, p_resource_type, p_resource_id,
        p_details, p_ip_address, p_user_agent
    );

    RETURN v_audit_id;
END;
$$;

GRANT EXECUTE ON FUNCTION public.create_audit_log(uuid, varchar, varchar, uuid, jsonb, inet, text)
TO portal_app;

-- A new owner needs CREATE on the schema at the moment it is given the function, and not after.
GRANT CREATE ON SCHEMA public TO portal_api;
ALTER FUNCTION public.create_audit_log(uuid, varchar, varchar, uuid, jsonb, inet, text)
OWNER TO portal_api;
REVOKE CREATE ON SCHEMA public FROM portal_api;

COMMENT ON FUNCTION public.create_audit_log(uuid, varchar, varchar, uuid, jsonb, inet, text) IS
'Writes one audit entry as the user of the context and returns its id; a NULL p_user_id stands for that '
'user, another user''s is refused with 42501.';
