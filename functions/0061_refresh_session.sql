-- New tokens for old: each refresh token serves once, and one that comes back ends the family.
-- depends: 0059_create_session
--
-- Sixteen tabs refresh the same token at once: within session_grace each gets a session of its own.
-- What ends a family has to be committed, so every outcome is returned and none raised.

CREATE FUNCTION public.end_sessions(p_user_id uuid, p_family_id uuid) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_rows   bigint;
    v_active bigint;
    v_ended  bigint := 0;
BEGIN
    -- Again until none is left: a refresh under way has a successor that this did not see yet.
    -- Locked in the order of ids, so that two of these do not deadlock.
    LOOP
        -- Of used ones refreshed_at goes too, or their tokens served for the rest of session_grace.
        WITH before AS MATERIALIZED (
            SELECT s.id, s.is_active
            FROM public.user_sessions AS s
            WHERE
                s.user_id = p_user_id
                AND (p_family_id IS NULL OR s.id = p_family_id OR s.family_id = p_family_id)
                AND (s.is_active OR s.refreshed_at IS NOT NULL)
            ORDER BY s.id
            FOR NO KEY UPDATE
        ),

        after AS (
            UPDATE public.user_sessions AS s
            SET is_active = false, refreshed_at = NULL
            FROM before
            WHERE s.id = before.id
            RETURNING before.is_active
        )

        SELECT count(*), count(*) FILTER (WHERE after.is_active) INTO v_rows, v_active FROM after;
        EXIT WHEN v_rows = 0;
        v_ended := v_ended + v_active;
    END LOOP;
    RETURN v_ended;
END;
$$;

CREATE FUNCTION public.refresh_session(
    p_refresh_token text,
    p_ip_address inet DEFAULT NULL,
    p_user_agent text DEFAULT NULL
) RETURNS TABLE (
    outcome text, session_id uuid, session_token text, refresh_token text, expires_at timestamptz
)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_used   record;
    v_family uuid;
BEGIN
    outcome := 'refused';
    PERFORM public.set_app_context(NULL, p_ip_address, p_user_agent);

    SELECT s.id, s.user_id, s.family_id INTO v_used
    FROM public.user_sessions AS s
    WHERE s.refresh_token = public.token_digest(p_refresh_token);
    v_family := coalesce(v_used.family_id, v_used.id);
    PERFORM public.set_app_context(v_used.user_id, p_ip_address, p_user_agent, v_used.id::text);

    -- Whoever deactivates the user waits, and then ends the new session too.
    PERFORM 1
    FROM public.users AS u
    WHERE u.id = v_used.user_id
    FOR SHARE;
    IF NOT EXISTS (SELECT 1 FROM public.users AS u WHERE u.id = v_used.user_id AND u.is_active) THEN
        PERFORM public.set_app_context(NULL, p_ip_address, p_user_agent);
        RETURN NEXT;
        RETURN;
    END IF;

    -- Locked and read anew: of those who come with the same token, one at a time.
    SELECT
        s.id, s.user_id, s.renewable_until,
        s.expires_at > CURRENT_TIMESTAMP AND s.renewable_until > CURRENT_TIMESTAMP AS lasts,
        s.is_active AND s.last_activity > CURRENT_TIMESTAMP
        - (SELECT c.value FROM public.settings AS c WHERE c.name = 'session_idle')::interval AS is_fresh,
        s.refreshed_at IS NOT NULL AS is_used,
        s.refreshed_at > CURRENT_TIMESTAMP
        - (SELECT c.value FROM public.settings AS c WHERE c.name = 'session_grace')::interval AS in_grace
    INTO v_used
    FROM public.user_sessions AS s
    WHERE s.id = v_used.id
    FOR NO KEY UPDATE;

    IF v_used.lasts AND v_used.is_used AND v_used.in_grace IS NOT TRUE THEN
        PERFORM public.end_sessions(v_used.user_id, v_family);
        PERFORM public.create_audit_log(
            NULL, 'session_reuse_detected', 'session', v_family, '{}', NULL, NULL
        );
        outcome := 'reused';
    ELSIF v_used.lasts AND (v_used.is_fresh OR v_used.in_grace) THEN
        -- It is kept as long as its family can go on, to be known when it comes back.
        UPDATE public.user_sessions AS s
        SET
            is_active = false,
            refreshed_at = coalesce(s.refreshed_at, CURRENT_TIMESTAMP),
            expires_at = s.renewable_until
        WHERE s.id = v_used.id;
        SELECT s.session_id, s.session_token, s.refresh_token, s.expires_at
        INTO session_id, session_token, refresh_token, expires_at
        FROM public.open_session(v_used.user_id, v_family, v_used.renewable_until) AS s;
        PERFORM set_config('app.session_id', session_id::text, true);
        outcome := 'refreshed';
    END IF;

    IF outcome <> 'refreshed' THEN
        PERFORM public.set_app_context(NULL, p_ip_address, p_user_agent);
    END IF;
    RETURN NEXT;
END;
$$;

GRANT EXECUTE ON FUNCTION public.refresh_session(text, inet, text) TO portal_app;

-- A new owner needs CREATE on the schema at the moment it is given the function, and not after.
GRANT CREATE ON SCHEMA public TO portal_api;
ALTER FUNCTION public.end_sessions(uuid, uuid) OWNER TO portal_api;
ALTER FUNCTION public.refresh_session(text, inet, text) OWNER TO portal_api;
REVOKE CREATE ON SCHEMA public FROM portal_api;

COMMENT ON FUNCTION public.end_sessions(uuid, uuid) IS
'Ends a user''s sessions, those of one sign-in or all (NULL), and returns how many were active; for the API''s functions '
'alone.';
COMMENT ON FUNCTION public.refresh_session(text, inet, text) IS
'Gives new tokens for a refresh token, which serves once, and makes its user the user of this transaction. The outcome is '
'refreshed; refused where the token is unknown or its session ended, expired or idle; reused where it was used before, '
'more than session_grace ago: then all sessions that continue the same sign-in are ended. Commit whatever comes back.
Audits: session_reuse_detected.
Example: SELECT * FROM refresh_session(''kP0v…'', ''192.0.2.1'', ''Mozilla/5.0'');';
