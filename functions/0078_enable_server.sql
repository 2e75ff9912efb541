-- A user switches one server on, and off.
-- depends: 0050_require_app_user 0014_user_server_configs_policies 0051_create_audit_log_in_context

CREATE FUNCTION public.enable_server(p_server_id uuid)
RETURNS TABLE (config_id uuid, outcome text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user_id   uuid := public.hold_app_user();
    v_is_active boolean;
    v_config_id uuid;
BEGIN
    BEGIN
        -- One statement, so that what is seen and what is written are of one moment.
        WITH seen AS MATERIALIZED (
            SELECT
                s.id,
                coalesce(s.is_active, false) AS is_active
            FROM public.mcp_servers AS s
            WHERE s.id = p_server_id
        ),

        changed AS (
            INSERT INTO public.user_server_configs AS c (user_id, server_id, enabled)
            SELECT
                v_user_id,
                seen.id,
                true
            FROM seen
            WHERE seen.is_active
            ON CONFLICT ON CONSTRAINT unique_user_server
            DO UPDATE SET enabled = true WHERE c.enabled IS NOT true
            RETURNING c.id
        )

        SELECT
            (SELECT seen.is_active FROM seen),
            (SELECT changed.id FROM changed)
        INTO v_is_active, v_config_id;
    EXCEPTION
        -- A custom server that its maker removed meanwhile.
        WHEN foreign_key_violation THEN
            v_is_active := NULL;
    END;
    IF v_is_active IS NULL THEN
        RAISE EXCEPTION 'there is no such server'
            USING
                ERRCODE = 'PT404',
                DETAIL = 'No server of this id is in the catalog or among the user''s own.',
                HINT = 'Take the id from mcp_servers, as the user reads it.';
    ELSIF NOT v_is_active THEN
        RAISE EXCEPTION 'the server is out of use'
            USING
                ERRCODE = 'PT409',
                DETAIL = 'Its is_active is false, so no new container of it is wanted.',
                HINT = 'Offer servers with is_active alone.';
    END IF;

    IF v_config_id IS NULL THEN
        RETURN QUERY
        SELECT
            c.id,
            'unchanged'
        FROM public.user_server_configs AS c
        WHERE c.user_id = v_user_id AND c.server_id = p_server_id;
        RETURN;
    END IF;
    PERFORM public.create_audit_log(
        v_user_id, 'server_enabled', 'server', p_server_id,
        jsonb_build_object('config_id', v_config_id), NULL, NULL
    );
    RETURN QUERY
    SELECT
        v_config_id,
        'enabled';
END;
$$;

CREATE FUNCTION public.disable_server(p_server_id uuid)
RETURNS TABLE (config_id uuid, outcome text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user_id   uuid := public.hold_app_user();
    v_config_id uuid;
BEGIN
    UPDATE public.user_server_configs AS c SET enabled = false
    WHERE c.user_id = v_user_id AND c.server_id = p_server_id AND c.enabled
    RETURNING c.id INTO v_config_id;
    IF v_config_id IS NOT NULL THEN
        PERFORM public.create_audit_log(
            v_user_id, 'server_disabled', 'server', p_server_id,
            jsonb_build_object('config_id', v_config_id), NULL, NULL
        );
        RETURN QUERY
        SELECT
            v_config_id,
            'disabled';
        RETURN;
    END IF;

    -- One's own configuration counts, even where its server is not to be seen any more.
    SELECT c.id INTO v_config_id
    FROM public.user_server_configs AS c
    WHERE c.user_id = v_user_id AND c.server_id = p_server_id;
    IF v_config_id IS NULL AND NOT EXISTS (
        SELECT 1
        FROM public.mcp_servers AS s
        WHERE s.id = p_server_id
    ) THEN
        RAISE EXCEPTION 'there is no such server'
            USING
                ERRCODE = 'PT404',
                DETAIL = 'No server of this id is in the catalog or among the user''s own.',
                HINT = 'Take the id from mcp_servers or user_servers, as the user reads them.';
    END IF;
    RETURN QUERY
    SELECT
        v_config_id,
        'unchanged';
END;
$$;

GRANT EXECUTE ON FUNCTION public.enable_server(uuid) TO portal_app;
GRANT EXECUTE ON FUNCTION public.disable_server(uuid) TO portal_app;

COMMENT ON FUNCTION public.enable_server(uuid) IS
'Switches a server on for the user of the context, and makes the configuration where there is none. outcome is enabled, '
'or unchanged where it was on already.
Audits: server_enabled.
Errors: PT401 no active user acts; PT404 the user sees no such server; PT409 the server is out of use.
Example: SELECT config_id, outcome FROM enable_server(''0b000000-0000-0000-0000-000000000001'');';
COMMENT ON FUNCTION public.disable_server(uuid) IS
'Switches a server off for the user of the context. outcome is disabled, or unchanged where it was not on; config_id is '
'NULL where the user has no configuration of it.
Audits: server_disabled.
Errors: PT401 no active user acts; PT404 the user sees no such server and has no configuration of it.
Example: SELECT config_id, outcome FROM disable_server(''0b000000-0000-0000-0000-000000000001'');';
