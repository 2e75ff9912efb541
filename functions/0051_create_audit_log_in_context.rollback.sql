-- Makes the function as 0019 has it.

CREATE OR REPLACE FUNCTION public.create_audit_log(
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

COMMENT ON FUNCTION public.create_audit_log(uuid, varchar, varchar, uuid, jsonb, inet, text) IS
'Writes one audit entry as the user of the context and returns its id; a NULL p_user_id stands for that '
'user, another user''s is refused with 42501.';
