-- A user changes a configuration, and no change made meanwhile is lost.
-- depends: 0050_require_app_user 0014_user_server_configs_policies 0042_require_encrypted_config
-- depends: 0051_create_audit_log_in_context

CREATE FUNCTION public.update_server_config(
    p_server_id uuid,
    p_encrypted_config text DEFAULT NULL,
    p_config_metadata jsonb DEFAULT NULL,
    p_clear_secret boolean DEFAULT false,
    p_expected_updated_at timestamptz DEFAULT NULL
) RETURNS TABLE (config_id uuid, outcome text, updated_at timestamptz)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_user_id uuid    := public.hold_app_user();
    v_clear   boolean := coalesce(p_clear_secret, false);
    v_created boolean := false;
    v_changed text[]  := ARRAY[]::text[];
    v_config  record;
    v_fault   text;
    v_advice  text;
BEGIN
    IF v_clear AND p_encrypted_config IS NOT NULL THEN
        v_fault := 'p_encrypted_config and p_clear_secret are both given.';
    ELSIF
        jsonb_typeof(p_config_metadata) <> 'object'
        OR octet_length(p_config_metadata::text) > 65536
    THEN
        v_fault := 'p_config_metadata is no object of at most 65536 bytes.';
    END IF;
    IF v_fault IS NOT NULL THEN
        RAISE EXCEPTION 'the configuration cannot be taken as it is'
            USING
                ERRCODE = 'PT400',
                DETAIL = v_fault,
                HINT = 'Correct that argument; NULL keeps what is there.';
    END IF;

    IF
        p_expected_updated_at IS NULL
        AND (p_encrypted_config IS NOT NULL OR p_config_metadata IS NOT NULL)
    THEN
        BEGIN
            INSERT INTO public.user_server_configs (user_id, server_id)
            SELECT
                v_user_id,
                s.id
            FROM public.mcp_servers AS s
            WHERE s.id = p_server_id
            ON CONFLICT ON CONSTRAINT unique_user_server DO NOTHING;
            v_created := FOUND;
        EXCEPTION
            -- A custom server that its maker removed meanwhile: it is not found below.
            WHEN foreign_key_violation THEN
                v_created := false;
        END;
    END IF;

    -- Whoever else changes it now is waited for, and seen.
    SELECT
        c.id,
        c.encrypted_config,
        c.config_metadata,
        c.updated_at
    INTO v_config
    FROM public.user_server_configs AS c
    WHERE c.user_id = v_user_id AND c.server_id = p_server_id
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        IF NOT EXISTS (
            SELECT 1
            FROM public.mcp_servers AS s
            WHERE s.id = p_server_id
        ) THEN
            RAISE EXCEPTION 'there is no such server'
                USING
                    ERRCODE = 'PT404',
                    DETAIL = 'No server of this id is in the catalog or among the user''s own.',
                    HINT = 'Take the id from mcp_servers or user_servers, as the user reads them.';
        ELSIF p_expected_updated_at IS NOT NULL
            OR p_encrypted_config IS NOT NULL
            OR p_config_metadata IS NOT NULL
        THEN
            RAISE EXCEPTION 'the configuration was removed meanwhile'
                USING
                    ERRCODE = 'PT409',
                    DETAIL = 'Nothing was stored.',
                    HINT = 'Show the user that it is gone; without p_expected_updated_at it is made anew.';
        END IF;
        RETURN QUERY
        SELECT
            NULL::uuid,
            'unchanged',
            NULL::timestamptz;
        RETURN;
    END IF;
    IF p_expected_updated_at IS NOT NULL AND v_config.updated_at IS DISTINCT FROM p_expected_updated_at THEN
        RAISE EXCEPTION 'the configuration was changed meanwhile'
            USING
                ERRCODE = 'PT409',
                DETAIL = format('It was changed at %s.', v_config.updated_at),
                HINT = 'Read it again, make the change on what is there now, and pass its updated_at.';
    END IF;

    IF coalesce(p_encrypted_config, v_config.encrypted_config) IS DISTINCT FROM v_config.encrypted_config
        OR v_clear AND v_config.encrypted_config IS NOT NULL
    THEN
        v_changed := v_changed || 'encrypted_config'::text;
    END IF;
    IF coalesce(p_config_metadata, v_config.config_metadata) IS DISTINCT FROM v_config.config_metadata THEN
        v_changed := v_changed || 'config_metadata'::text;
    END IF;
    IF v_changed = '{}' AND NOT v_created THEN
        RETURN QUERY
        SELECT
            v_config.id,
            'unchanged',
            v_config.updated_at;
        RETURN;
    END IF;

    IF v_changed <> '{}' THEN
        BEGIN
            UPDATE public.user_server_configs AS c
            SET
                encrypted_config = CASE
                    WHEN NOT v_clear THEN coalesce(p_encrypted_config, c.encrypted_config)
                END,
                config_metadata = coalesce(p_config_metadata, c.config_metadata)
            WHERE c.id = v_config.id
            RETURNING c.updated_at INTO v_config.updated_at;
            -- The row is locked: only a user who was shut out meanwhile does not reach it.
            IF NOT FOUND THEN
                PERFORM public.require_app_user();
            END IF;
        EXCEPTION
            WHEN check_violation THEN
                GET STACKED DIAGNOSTICS v_fault = MESSAGE_TEXT, v_advice = PG_EXCEPTION_HINT;
                RAISE EXCEPTION 'the configuration cannot be taken as it is'
                    USING
                        ERRCODE = 'PT400',
                        DETAIL = format('It is refused because %s.', v_fault),
                        HINT = coalesce(nullif(v_advice, ''), 'Correct p_encrypted_config.');
        END;
    END IF;
    PERFORM public.create_audit_log(
        v_user_id, 'config_updated', 'config', v_config.id,
        jsonb_build_object('server_id', p_server_id, 'changed', v_changed, 'created', v_created),
        NULL, NULL
    );
    RETURN QUERY
    SELECT
        v_config.id,
        CASE WHEN v_created THEN 'created' ELSE 'updated' END,
        v_config.updated_at;
END;
$$;

GRANT EXECUTE ON FUNCTION
    public.update_server_config(uuid, text, jsonb, boolean, timestamptz)
TO portal_app;

COMMENT ON FUNCTION public.update_server_config(uuid, text, jsonb, boolean, timestamptz) IS
'Changes the configuration that the user of the context has of a server: the encrypted value, the metadata, or both; '
'NULL keeps what is there, p_clear_secret takes the value away. Where there is no configuration it is made, switched '
'off. outcome is updated, created or unchanged. p_expected_updated_at is the updated_at that the caller read, to the '
'microsecond (as text where a language''s dates are coarser); where anything changed the row since, nothing is done.
Audits: config_updated, with which parts changed and never their values.
Errors: PT400 p_config_metadata or p_encrypted_config is refused, and DETAIL says why; PT401 no active user acts; '
'PT404 the user sees no such server; PT409 the configuration was changed or removed meanwhile.
Example: SELECT config_id, outcome FROM update_server_config('
'''0b000000-0000-0000-0000-000000000001'', p_config_metadata => ''{"region": "eu"}'');';
