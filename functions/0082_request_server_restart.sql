-- Asks for the container of a configuration to be started anew.
-- depends: 0050_require_app_user 0034_reach 0051_create_audit_log_in_context
-- depends: 0070_restart_requested_at

CREATE FUNCTION public.request_server_restart(p_config_id uuid) RETURNS timestamptz
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user_id uuid := public.hold_app_user();
    v_config  record;
BEGIN
    UPDATE public.user_server_configs AS c SET restart_requested_at = clock_timestamp()
    WHERE c.id = p_config_id AND c.enabled
    RETURNING c.user_id, c.server_id, c.restart_requested_at INTO v_config;
    IF FOUND THEN
        PERFORM public.create_audit_log(
            v_user_id, 'server_restart_requested', 'config', p_config_id,
            jsonb_build_object('user_id', v_config.user_id, 'server_id', v_config.server_id),
            NULL, NULL
        );
        RETURN v_config.restart_requested_at;
    ELSIF EXISTS (
        SELECT 1
        FROM public.user_server_configs AS c
        WHERE c.id = p_config_id
    ) THEN
        RAISE EXCEPTION 'the server is switched off'
            USING
                ERRCODE = 'PT409',
                DETAIL = 'The configuration is not enabled, so no container of it is to run.',
                HINT = 'enable_server() starts it.';
    END IF;
    RAISE EXCEPTION 'there is no such configuration'
        USING
            ERRCODE = 'PT404',
            DETAIL = 'No configuration of this id is within the user''s reach.',
            HINT = 'Take config_id from user_servers, as the user reads it.';
END;
$$;

GRANT EXECUTE ON FUNCTION public.request_server_restart(uuid) TO portal_app;

COMMENT ON FUNCTION public.request_server_restart(uuid) IS
'Asks the runner to start the container of a configuration anew, and returns the time that it was asked for. The user '
'asks for their own, an admin for any within their reach.
Audits: server_restart_requested.
Errors: PT401 no active user acts; PT404 no such configuration is within reach; PT409 it is switched off.
Example: SELECT request_server_restart(''0c000000-0000-0000-0000-000000000001'');';
