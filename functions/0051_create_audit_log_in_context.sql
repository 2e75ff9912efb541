-- An audit entry takes from the context what it is not told: address, program, session.
-- depends: 0019_create_audit_log 0049_set_app_context
--
-- Also for a user who was deactivated meanwhile, and for nobody: what they did, or tried, is worth
-- an entry more than any other.

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
        details, ip_address, user_agent, session_id
    ) VALUES (
        v_audit_id, v_user_id, p_action, p_resource_type, p_resource_id, p_details,
        coalesce(p_ip_address, nullif(current_setting('app.ip_address', true), '')::inet),
        coalesce(p_user_agent, nullif(current_setting('app.user_agent', true), '')),
        nullif(current_setting('app.session_id', true), '')
    );

    RETURN v_audit_id;
END;
$$;

COMMENT ON FUNCTION public.create_audit_log(uuid, varchar, varchar, uuid, jsonb, inet, text) IS
'Writes one audit entry as the user of the context and returns its id. A NULL p_user_id stands for that user; NULL for '
'p_ip_address and p_user_agent for those of set_app_context(), which names the session too.
Errors: 22001 a text is too long; 23502 p_action is NULL; 23503 the user of the context is unknown; 23514 valid_action
does not know p_action; 42501 p_user_id is another user''s.
Example: SELECT create_audit_log(NULL, ''config_exported'', ''report'', NULL, ''{"rows": 3}'', NULL, NULL);';
