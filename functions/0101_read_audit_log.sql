-- The audit trail page by page, newest first, of whom the caller reaches.
-- depends: 0050_require_app_user 0099_audit_logs_page_indexes 0100_audit_logs_read
--
-- Five questions and not one with every filter in it: each has an index that gives its rows in the
-- page's order, so that a page costs the same wherever it lies. Their plans are generic, because
-- planning anew costs more than the page does where the partitions are many. The policies say who
-- is reached; the ids that are asked for here only make an index answer.

CREATE FUNCTION public.read_audit_log(
    p_user_id uuid DEFAULT NULL,
    p_action text DEFAULT NULL,
    p_resource_type text DEFAULT NULL,
    p_resource_id uuid DEFAULT NULL,
    p_from timestamptz DEFAULT NULL,
    p_to timestamptz DEFAULT NULL,
    p_before timestamptz DEFAULT NULL,
    p_before_id uuid DEFAULT NULL,
    p_limit integer DEFAULT 50
) RETURNS TABLE (
    id uuid,
    user_id uuid,
    action varchar(100),
    resource_type varchar(50),
    resource_id uuid,
    details jsonb,
    ip_address inet,
    user_agent text,
    session_id varchar(255),
    -- A type is read here without the quotes.
    "timestamp" timestamptz -- noqa: RF06
)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = 'force_generic_plan'
AS $$
#variable_conflict use_column
DECLARE
    v_user_ids uuid[];
    v_from     timestamptz := coalesce(p_from, '-infinity');
    v_below    timestamptz := coalesce(least(p_before, p_to), 'infinity');
    v_below_id uuid := uuid '00000000-0000-0000-0000-000000000000';
    v_low      timestamptz;
    v_left     integer := p_limit;
    v_got      integer;
    v_days     integer;
BEGIN
    PERFORM public.require_app_user();

    IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION 'p_limit is not between 1 and 1000'
            USING
                ERRCODE = 'PT400',
                DETAIL = format('It is %s.', coalesce(p_limit::text, 'NULL')),
                HINT = 'Ask for a smaller page, and for the next one with p_before and p_before_id.';
    END IF;
    IF p_before_id IS NOT NULL AND p_before IS NULL THEN
        RAISE EXCEPTION 'p_before_id is given without p_before'
            USING
                ERRCODE = 'PT400',
                DETAIL = 'An id alone says nothing of where a page begins.',
                HINT = 'Pass the timestamp and the id of the last row of the page before.';
    END IF;

    -- Where p_to is earlier, or just there, no entry of that moment belongs to the page.
    IF p_before_id IS NOT NULL AND (p_to IS NULL OR p_before < p_to) THEN
        v_below_id := p_before_id;
    END IF;

    -- Of whom the caller does not reach no entry is looked at: how many there are is not told by how
    -- long it takes.
    IF p_user_id IS NOT NULL AND NOT EXISTS (
        SELECT 1
        FROM public.app_reach AS r
        WHERE r.everyone_from IS NOT NULL OR p_user_id = ANY (r.user_ids)
    ) THEN
        RETURN;
    END IF;

    -- NULL where everyone is meant and reached.
    SELECT
        CASE
            WHEN p_user_id IS NOT NULL THEN ARRAY[p_user_id]
            WHEN r.everyone_from IS NULL THEN r.user_ids
        END
    INTO v_user_ids
    FROM public.app_reach AS r;

    IF p_resource_id IS NOT NULL THEN
        RETURN QUERY
        SELECT l.*
        FROM public.audit_logs AS l
        WHERE
            l.resource_id = p_resource_id
            AND (v_user_ids IS NULL OR l.user_id = ANY (v_user_ids))
            AND (p_action IS NULL OR l.action = p_action)
            AND (p_resource_type IS NULL OR l.resource_type = p_resource_type)
            AND l.timestamp >= v_from
            AND l.timestamp <= v_below
            AND (l.timestamp < v_below OR l.id < v_below_id)
        ORDER BY l.timestamp DESC, l.id DESC
        LIMIT p_limit;
    ELSIF v_user_ids IS NOT NULL THEN
        -- Of one user at once; of many in steps back in time, each four times as long, because each
        -- of them is looked for in every partition of a step.
        FOREACH v_days IN ARRAY ARRAY[31, 124, 496, NULL]
        LOOP
            v_low := v_from;
            IF cardinality(v_user_ids) > 1 AND v_below > '2000-01-01' THEN
                v_low := greatest(
                    v_from, least(v_below, CURRENT_TIMESTAMP) - make_interval(days => v_days)
                );
            END IF;
            IF p_action IS NOT NULL THEN
                RETURN QUERY
                SELECT e.*
                FROM (SELECT DISTINCT w.id FROM unnest(v_user_ids) AS w (id)) AS w
                CROSS JOIN LATERAL (
                    SELECT l.*
                    FROM public.audit_logs AS l
                    WHERE
                        l.user_id = w.id
                        AND l.action = p_action
                        AND (p_resource_type IS NULL OR l.resource_type = p_resource_type)
                        AND l.timestamp >= v_low
                        AND l.timestamp <= v_below
                        AND (l.timestamp < v_below OR l.id < v_below_id)
                    ORDER BY l.timestamp DESC, l.id DESC
                    LIMIT v_left
                ) AS e
                ORDER BY e.timestamp DESC, e.id DESC
                LIMIT v_left;
            ELSE
                RETURN QUERY
                SELECT e.*
                FROM (SELECT DISTINCT w.id FROM unnest(v_user_ids) AS w (id)) AS w
                CROSS JOIN LATERAL (
                    SELECT l.*
                    FROM public.audit_logs AS l
                    WHERE
                        nullif(l.user_id, '00000000-0000-0000-0000-000000000000') = w.id
                        AND (p_resource_type IS NULL OR l.resource_type = p_resource_type)
                        AND l.timestamp >= v_low
                        AND l.timestamp <= v_below
                        AND (l.timestamp < v_below OR l.id < v_below_id)
                    ORDER BY l.timestamp DESC, l.id DESC
                    LIMIT v_left
                ) AS e
                ORDER BY e.timestamp DESC, e.id DESC
                LIMIT v_left;
            END IF;
            GET DIAGNOSTICS v_got = ROW_COUNT;
            v_left := v_left - v_got;
            EXIT WHEN v_left = 0 OR v_low = v_from;
            v_below := v_low;
            v_below_id := '00000000-0000-0000-0000-000000000000';
        END LOOP;
    ELSIF p_action IS NOT NULL THEN
        -- Rows of columns and no equality: so only idx_audit_logs_action_timestamp can answer, and
        -- nobody walks the whole trail for an action that is rare.
        RETURN QUERY
        SELECT l.*
        FROM public.audit_logs AS l
        WHERE
            (p_resource_type IS NULL OR l.resource_type = p_resource_type)
            AND (l.action COLLATE "C", l.timestamp) >= (p_action, v_from)
            AND (l.action COLLATE "C", l.timestamp, l.id) < (p_action, v_below, v_below_id)
        ORDER BY l.action COLLATE "C" DESC, l.timestamp DESC, l.id DESC
        LIMIT p_limit;
    ELSE
        RETURN QUERY
        SELECT l.*
        FROM public.audit_logs AS l
        WHERE
            (p_resource_type IS NULL OR l.resource_type = p_resource_type)
            AND l.timestamp >= v_from
            AND l.timestamp <= v_below
            AND (l.timestamp < v_below OR l.id < v_below_id)
        ORDER BY l.timestamp DESC, l.id DESC
        LIMIT p_limit;
    END IF;
END;
$$;

GRANT EXECUTE ON FUNCTION public.read_audit_log(
    uuid, text, text, uuid, timestamptz, timestamptz, timestamptz, uuid, integer
) TO portal_app;

-- A new owner needs CREATE on the schema at the moment it is given the function, and not after.
GRANT CREATE ON SCHEMA public TO portal_api;
ALTER FUNCTION public.read_audit_log(
    uuid, text, text, uuid, timestamptz, timestamptz, timestamptz, uuid, integer
) OWNER TO portal_api;
REVOKE CREATE ON SCHEMA public FROM portal_api;

COMMENT ON FUNCTION public.read_audit_log(
    uuid, text, text, uuid, timestamptz, timestamptz, timestamptz, uuid, integer
) IS
'Reads a page of the audit trail, newest first. Everyone reads their own entries, a super_admin all, a team_admin '
'everyone''s but those that name nobody, and one who is narrowed those of their teams'' members. A filter that is NULL '
'lets all through; p_from is included, p_to is not. Who is out of reach and who is unknown give no rows alike. For the '
'next page pass the timestamp and the id of the last row as p_before and p_before_id; p_before alone means strictly '
'earlier.
Errors: PT400 p_limit is not between 1 and 1000, or p_before_id is given alone; PT401 no active user acts.
Example: SELECT * FROM read_audit_log(p_action => ''login'', p_limit => 20);';
