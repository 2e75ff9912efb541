-- A request comes with a session's token: who is it?
-- depends: 0059_create_session
--
-- It runs before every request, so it reads once by an index and mostly writes nothing:
-- last_activity moves once a minute, and never waits for another request of the same session.

CREATE FUNCTION public.authenticate(
    p_session_token text,
    p_ip_address inet DEFAULT NULL,
    p_user_agent text DEFAULT NULL
) RETURNS TABLE (user_id uuid, session_id uuid, role text, expires_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_last_activity timestamptz;
    v_context       text;
BEGIN
    -- The context as set_app_context() makes it, here because a call of that costs as much as this.
    SELECT
        s.user_id, s.id, u.role, s.expires_at, s.last_activity,
        concat(
            set_config('app.current_user_id', s.user_id::text, true),
            set_config('app.ip_address', format('%s', p_ip_address), true),
            set_config('app.user_agent', coalesce(left(p_user_agent, 1024), ''), true),
            set_config('app.session_id', s.id::text, true)
        )
    INTO user_id, session_id, role, expires_at, v_last_activity, v_context
    FROM public.user_sessions AS s
    INNER JOIN public.users AS u ON s.user_id = u.id
    WHERE
        s.session_token = public.token_digest(p_session_token)
        AND s.expires_at > CURRENT_TIMESTAMP
        AND s.last_activity > CURRENT_TIMESTAMP
        - (SELECT c.value FROM public.settings AS c WHERE c.name = 'session_idle')::interval
        AND (
            s.is_active
            OR s.refreshed_at > CURRENT_TIMESTAMP
            - (SELECT c.value FROM public.settings AS c WHERE c.name = 'session_grace')::interval
        )
        AND u.is_active;
    IF v_context IS NULL THEN
        RAISE EXCEPTION 'the session is unknown, ended or expired'
            USING
                ERRCODE = 'PT401',
                DETAIL = 'No session of an active user that still lasts has this token.',
                HINT = 'Call refresh_session() with the refresh token, or sign in again.';
    END IF;

    IF v_last_activity < CURRENT_TIMESTAMP - interval '1 minute'
        AND current_setting('transaction_read_only') = 'off'
    THEN
        WITH due AS MATERIALIZED (
            SELECT s.id
            FROM public.user_sessions AS s
            WHERE s.id = session_id
            FOR NO KEY UPDATE SKIP LOCKED
        )

        UPDATE public.user_sessions AS s
        SET last_activity = CURRENT_TIMESTAMP
        FROM due
        WHERE s.id = due.id;
    END IF;
    RETURN NEXT;
END;
$$;

GRANT EXECUTE ON FUNCTION public.authenticate(text, inet, text) TO portal_app;

-- A new owner needs CREATE on the schema at the moment it is given the function, and not after.
GRANT CREATE ON SCHEMA public TO portal_api;
ALTER FUNCTION public.authenticate(text, inet, text) OWNER TO portal_api;
REVOKE CREATE ON SCHEMA public FROM portal_api;

COMMENT ON FUNCTION public.authenticate(text, inet, text) IS
'Finds the user whose session has this token and makes them the user of this transaction, with address, program and '
'session for the audit. last_activity moves at most once a minute. Call it first in each transaction of a request.
Errors: PT401 the session is unknown, ended, expired or idle, or its user deactivated.
Example: SELECT * FROM authenticate(''7G3n…'', ''192.0.2.1'', ''Mozilla/5.0'');';
