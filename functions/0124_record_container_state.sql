-- How the runner takes a configuration in hand, and writes what became of its container.
-- depends: 0051_create_audit_log_in_context 0121_valid_action_of_the_runner_validated
-- depends: 0123_container_status_policies
--
-- No transaction is held across a call to the engine, so what is claimed is claimed by a lease.
-- Each claim has a higher fencing token, and a runner that was too slow finds its own refused.

CREATE FUNCTION public.audit_container(p_action text, p_config_id uuid, p_details jsonb)
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF (p_action IN ('container_started', 'container_stopped', 'container_failed')) IS NOT TRUE THEN
        RAISE EXCEPTION 'that is no action of the runner''s'
            USING
                ERRCODE = 'PT403',
                DETAIL = 'The runner audits container_started, container_stopped and container_failed.',
                HINT = 'Other actions are audited by the functions that services call.';
    END IF;
    RETURN public.create_audit_log(NULL, p_action, 'config', p_config_id, p_details, NULL, NULL);
END;
$$;

CREATE FUNCTION public.claim_container(p_config_id uuid, p_owner text, p_lease interval)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_token bigint;
BEGIN
    INSERT INTO public.container_status AS s (config_id, lease_owner, lease_until)
    SELECT
        c.id,
        p_owner,
        clock_timestamp() + p_lease
    FROM public.user_server_configs AS c
    WHERE c.id = p_config_id
    ON CONFLICT (config_id) DO UPDATE
    SET
        lease_owner = excluded.lease_owner,
        lease_until = excluded.lease_until,
        fencing_token = s.fencing_token + 1
    WHERE s.lease_owner IS NULL OR s.lease_until < clock_timestamp()
    RETURNING s.fencing_token INTO v_token;
    RETURN v_token;
END;
$$;

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
    p_generation_seen text DEFAULT NULL
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
        generation_seen = p_generation_seen
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
            WHEN p_state = 'running' THEN 'container_started'
            WHEN p_state = 'error' AND v_before.container_state IS DISTINCT FROM 'error'
                THEN 'container_failed'
            WHEN p_state = 'stopped' AND v_before.container_state IN ('running', 'stopping')
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

GRANT EXECUTE ON FUNCTION public.audit_container(text, uuid, jsonb) TO portal_runner;
GRANT EXECUTE ON FUNCTION public.claim_container(uuid, text, interval) TO portal_runner;
GRANT EXECUTE ON FUNCTION public.record_container_state(
    uuid, bigint, text, text, text, text, bigint, interval, text, text
) TO portal_runner;

-- A new owner needs CREATE on the schema at the moment it is given the function, and not after.
GRANT CREATE ON SCHEMA public TO portal_api;
ALTER FUNCTION public.audit_container(text, uuid, jsonb) OWNER TO portal_api;
REVOKE CREATE ON SCHEMA public FROM portal_api;

COMMENT ON FUNCTION public.audit_container(text, uuid, jsonb) IS
'Writes the runner''s entry into the trail, of its own three actions alone, and returns its id. It is for a container of '
'which no configuration is left; record_container_state() writes the others by itself.
Audits: container_started, container_stopped, container_failed.
Errors: PT403 that is no action of the runner''s.
Example: SELECT audit_container(''container_stopped'', ''0c000000-0000-0000-0000-000000000001'', ''{"reason": "Orphaned"}'');';
COMMENT ON FUNCTION public.claim_container(uuid, text, interval) IS
'Takes a configuration in hand for a while and returns the fencing token of this claim; NULL where another holds it, or '
'there is none of this id. A lease that has run out is taken over.
Example: SELECT claim_container(''0c000000-0000-0000-0000-000000000001'', ''runner-1'', ''1 minute'');';
COMMENT ON FUNCTION public.record_container_state(
    uuid, bigint, text, text, text, text, bigint, interval, text, text
) IS
'Writes the state of a container, what is known of it, and its audit entry, all or nothing. False, and nothing is written, '
'where the fencing token is not that of the present claim.
Audits: container_started, container_stopped, container_failed.
Example: SELECT record_container_state(''0c000000-0000-0000-0000-000000000001'', 1, ''running'', ''4f1c…'');';
