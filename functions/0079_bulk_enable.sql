-- A user switches many servers on, or off, and is told of each.
-- depends: 0050_require_app_user 0014_user_server_configs_policies 0051_create_audit_log_in_context
--
-- Rows are locked in the order of server_id, so that two of these do not wait for each other.

CREATE FUNCTION public.require_server_ids(p_server_ids uuid[]) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF
        p_server_ids IS NULL
        OR cardinality(p_server_ids) > 1000
        OR EXISTS (SELECT 1 FROM unnest(p_server_ids) AS a (id) WHERE a.id IS NULL)
    THEN
        RAISE EXCEPTION 'the list of servers cannot be taken'
            USING
                ERRCODE = 'PT400',
                DETAIL = CASE
                    WHEN p_server_ids IS NULL THEN 'It is NULL.'
                    WHEN cardinality(p_server_ids) > 1000
                        THEN format('It has %s ids.', cardinality(p_server_ids))
                    ELSE 'An id in it is NULL.'
                END,
                HINT = 'Pass at most 1000 ids of servers, none of them NULL.';
    END IF;
END;
$$;

CREATE FUNCTION public.bulk_enable(p_server_ids uuid[])
RETURNS TABLE (server_id uuid, config_id uuid, outcome text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_user_id    uuid := public.hold_app_user();
    v_server_ids uuid[];
    v_outcomes   text[];
    v_changed    uuid[];
BEGIN
    PERFORM public.require_server_ids(p_server_ids);
    -- One statement, so that what is seen, what is written and what is told are of one moment.
    WITH asked AS (
        SELECT
            a.id,
            min(a.place) AS place
        FROM unnest(p_server_ids) WITH ORDINALITY AS a (id, place)
        GROUP BY a.id
    ),

    seen AS MATERIALIZED (
        SELECT
            s.id,
            coalesce(s.is_active, false) AS is_active
        FROM public.mcp_servers AS s
        WHERE s.id = ANY (p_server_ids)
    ),

    changed AS (
        INSERT INTO public.user_server_configs AS c (user_id, server_id, enabled)
        SELECT
            v_user_id,
            seen.id,
            true
        FROM seen
        WHERE seen.is_active
        ORDER BY seen.id
        ON CONFLICT ON CONSTRAINT unique_user_server
        DO UPDATE SET enabled = true WHERE c.enabled IS NOT true
        RETURNING c.server_id AS id
    )

    SELECT
        array_agg(asked.id ORDER BY asked.place),
        array_agg(
            CASE
                WHEN changed.id IS NOT NULL THEN 'enabled'
                WHEN seen.is_active THEN 'unchanged'
                WHEN seen.id IS NOT NULL THEN 'server_inactive'
                ELSE 'not_found'
            END ORDER BY asked.place
        ),
        array_agg(asked.id ORDER BY asked.place) FILTER (WHERE changed.id IS NOT NULL)
    INTO v_server_ids, v_outcomes, v_changed
    FROM asked
    LEFT JOIN seen ON asked.id = seen.id
    LEFT JOIN changed ON asked.id = changed.id;

    IF v_changed IS NOT NULL THEN
        PERFORM public.create_audit_log(
            v_user_id, 'bulk_enable', 'server', NULL,
            jsonb_build_object('server_ids', v_changed), NULL, NULL
        );
    END IF;
    -- Whoever was shut out meanwhile sees no server either.
    IF 'not_found' = ANY (v_outcomes) THEN
        PERFORM public.require_app_user();
    END IF;
    RETURN QUERY
    SELECT
        told.server_id,
        c.id,
        told.outcome
    FROM unnest(v_server_ids, v_outcomes) WITH ORDINALITY AS told (server_id, outcome, place)
    LEFT JOIN public.user_server_configs AS c
        ON told.server_id = c.server_id AND c.user_id = v_user_id
    ORDER BY told.place;
EXCEPTION
    WHEN foreign_key_violation THEN
        RAISE EXCEPTION 'a server was removed meanwhile'
            USING
                ERRCODE = 'PT409',
                DETAIL = 'Nothing was switched on.',
                HINT = 'Call it again: the server that is gone is then told as not_found.';
END;
$$;

CREATE FUNCTION public.bulk_disable(p_server_ids uuid[])
RETURNS TABLE (server_id uuid, config_id uuid, outcome text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_user_id    uuid := public.hold_app_user();
    v_server_ids uuid[];
    v_config_ids uuid[];
    v_outcomes   text[];
    v_changed    uuid[];
BEGIN
    PERFORM public.require_server_ids(p_server_ids);
    WITH asked AS (
        SELECT
            a.id,
            min(a.place) AS place
        FROM unnest(p_server_ids) WITH ORDINALITY AS a (id, place)
        GROUP BY a.id
    ),

    mine AS MATERIALIZED (
        SELECT
            c.id,
            c.server_id
        FROM public.user_server_configs AS c
        WHERE c.user_id = v_user_id AND c.server_id = ANY (p_server_ids)
        ORDER BY c.server_id
        FOR NO KEY UPDATE
    ),

    changed AS (
        UPDATE public.user_server_configs AS c SET enabled = false
        FROM mine
        WHERE c.id = mine.id AND c.enabled
        RETURNING c.server_id AS id
    )

    SELECT
        array_agg(asked.id ORDER BY asked.place),
        array_agg(mine.id ORDER BY asked.place),
        array_agg(
            CASE
                WHEN changed.id IS NOT NULL THEN 'disabled'
                WHEN mine.id IS NOT NULL OR s.id IS NOT NULL THEN 'unchanged'
                ELSE 'not_found'
            END ORDER BY asked.place
        ),
        array_agg(asked.id ORDER BY asked.place) FILTER (WHERE changed.id IS NOT NULL)
    INTO v_server_ids, v_config_ids, v_outcomes, v_changed
    FROM asked
    LEFT JOIN mine ON asked.id = mine.server_id
    LEFT JOIN changed ON asked.id = changed.id
    LEFT JOIN public.mcp_servers AS s ON asked.id = s.id;

    IF v_changed IS NOT NULL THEN
        PERFORM public.create_audit_log(
            v_user_id, 'bulk_disable', 'server', NULL,
            jsonb_build_object('server_ids', v_changed), NULL, NULL
        );
    END IF;
    -- Whoever was shut out meanwhile sees no server either.
    IF 'not_found' = ANY (v_outcomes) THEN
        PERFORM public.require_app_user();
    END IF;
    RETURN QUERY
    SELECT
        told.server_id,
        told.config_id,
        told.outcome
    FROM unnest(v_server_ids, v_config_ids, v_outcomes)
        WITH ORDINALITY AS told (server_id, config_id, outcome, place)
    ORDER BY told.place;
END;
$$;

GRANT EXECUTE ON FUNCTION public.require_server_ids(uuid[]) TO portal_app;
GRANT EXECUTE ON FUNCTION public.bulk_enable(uuid[]) TO portal_app;
GRANT EXECUTE ON FUNCTION public.bulk_disable(uuid[]) TO portal_app;

COMMENT ON FUNCTION public.require_server_ids(uuid[]) IS
'Refuses a list of servers that is NULL, too long, or has a NULL in it.
Errors: PT400 the list is NULL, has more than 1000 ids or a NULL.
Example: SELECT require_server_ids(ARRAY[''0b000000-0000-0000-0000-000000000001'']::uuid[]);';
COMMENT ON FUNCTION public.bulk_enable(uuid[]) IS
'Switches servers on for the user of the context and tells of each that was asked for, once and in the order asked: '
'outcome is enabled, unchanged (it was on), server_inactive (out of use) or not_found (the user sees no such server). '
'Those that can be switched on are, whatever becomes of the others.
Audits: bulk_enable, with the ids that changed, where one did.
Errors: PT400 the list is NULL, has more than 1000 ids or a NULL; PT401 no active user acts; PT409 a server was removed '
'meanwhile, and nothing is done.
Example: SELECT server_id, outcome FROM bulk_enable(ARRAY[''0b000000-0000-0000-0000-000000000001'']::uuid[]);';
COMMENT ON FUNCTION public.bulk_disable(uuid[]) IS
'Switches servers off for the user of the context and tells of each that was asked for, once and in the order asked: '
'outcome is disabled, unchanged (it was not on) or not_found (the user sees no such server and has no configuration of '
'it).
Audits: bulk_disable, with the ids that changed, where one did.
Errors: PT400 the list is NULL, has more than 1000 ids or a NULL; PT401 no active user acts.
Example: SELECT server_id, outcome FROM bulk_disable(ARRAY[''0b000000-0000-0000-0000-000000000001'']::uuid[]);';
