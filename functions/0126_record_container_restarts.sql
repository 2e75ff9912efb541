-- Writes which restart was served, and audits the end of a container that another replaces.
-- depends: 0124_record_container_state 0125_container_restarts

-- Made anew in the same transaction, with one argument more, which has a default.
-- squawk-ignore ban-drop-function
DROP FUNCTION public.record_container_state(
    uuid, bigint, text, text, text, text, bigint, interval, text, text
);

CREATE FUNCTION public.record_container_state(
    p_config_id uuid,
    p_fencing_token bigint,
    p_state text,
    p_container_id text DEFAULT NULL,
    p_reason text DEFAULT NULL,
    p_message text DEFAULT NULL,
    p_restart_count bigint DEFAULT 0,
    p_retry_after interval DEFAULT NULL,
    p_generation_wanted text DEFAULT NULL,
    p_generation_seen text DEFAULT NULL,
    p_restart_served timestamptz DEFAULT NULL
) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_before record;
    v_action text;
BEGIN
    -- The configuration first, as whoever deletes it locks them.
    SELECT c.user_id, c.server_id, c.container_state, c.container_id INTO v_before
    FROM public.user_server_configs AS c
    WHERE c.id = p_config_id
    FOR NO KEY UPDATE;

    UPDATE public.container_status AS s
    SET
        reason = p_reason,
        message = left(p_message, 1000),
        restart_count = p_restart_count,
        next_retry_at = clock_timestamp() + p_retry_after,
        generation_wanted = p_generation_wanted,
        generation_seen = p_generation_seen,
        restart_served = coalesce(p_restart_served, s.restart_served)
    WHERE
        s.config_id = p_config_id
        AND s.fencing_token = p_fencing_token
        AND s.lease_owner IS NOT NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;

    UPDATE public.user_server_configs AS c
    SET
        container_state = p_state,
        container_id = p_container_id,
        last_state_change = CASE
            WHEN c.container_state IS DISTINCT FROM p_state THEN clock_timestamp()
            ELSE c.last_state_change
        END
    WHERE
        c.id = p_config_id
        AND (c.container_state, c.container_id) IS DISTINCT FROM (p_state, p_container_id);
    IF FOUND THEN
        v_action := CASE
            -- One that is known already was not started: it was found running after all.
            WHEN p_state = 'running' AND v_before.container_id IS DISTINCT FROM p_container_id
                THEN 'container_started'
            WHEN p_state = 'error' AND v_before.container_state IS DISTINCT FROM 'error'
                THEN 'container_failed'
            -- 'creating' follows at once where another takes its place.
            WHEN
                p_state IN ('stopped', 'creating')
                AND v_before.container_state IN ('running', 'stopping')
                THEN 'container_stopped'
        END;
        IF v_action IS NOT NULL THEN
            PERFORM public.audit_container(
                v_action, p_config_id,
                jsonb_strip_nulls(jsonb_build_object(
                    'user_id', v_before.user_id, 'server_id', v_before.server_id,
                    'container_id', coalesce(p_container_id, v_before.container_id),
                    'reason', p_reason
                ))
            );
        END IF;
    END IF;
    RETURN true;
END;
$$;

GRANT EXECUTE ON FUNCTION public.record_container_state(
    uuid, bigint, text, text, text, text, bigint, interval, text, text, timestamptz
) TO portal_runner;

COMMENT ON FUNCTION public.record_container_state(
    uuid, bigint, text, text, text, text, bigint, interval, text, text, timestamptz
) IS
'Writes the state of a container, what is known of it, and its audit entry, all or nothing. False, and nothing is written, '
'where the fencing token is not that of the present claim. NULL for p_restart_served leaves what stands there.
Audits: container_started, container_stopped, container_failed.
Example: SELECT record_container_state(''0c000000-0000-0000-0000-000000000001'', 1, ''running'', ''4f1c…'');';
