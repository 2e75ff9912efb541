-- Writes a user's configurations into one document, by the names of the servers.
-- depends: 0014_user_server_configs_policies 0038_sensitive_data_header 0050_require_app_user
-- depends: 0051_create_audit_log_in_context
--
-- A secret never leaves as it lies here: it would open in this row alone, or worse, anywhere.
-- Whoever moves secrets encrypts them for the target and passes them in.

CREATE FUNCTION public.export_configs(p_secrets jsonb DEFAULT NULL) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user_id uuid  := public.require_app_user();
    v_secrets jsonb := coalesce(nullif(p_secrets, 'null'), '{}');
    v_fault   text;
    v_configs jsonb;
    v_with    bigint;
BEGIN
    IF jsonb_typeof(v_secrets) <> 'object' THEN
        v_fault := 'It is no object.';
    ELSIF octet_length(v_secrets::text) > 1048576 THEN
        v_fault := 'It has more than 1048576 bytes.';
    ELSE
        -- One statement, so that the document is of one moment.
        WITH mine AS (
            SELECT
                s.name,
                s.catalog_type,
                c.id AS config_id,
                c.enabled,
                c.config_metadata,
                c.encrypted_config IS NOT NULL AS has_secret,
                NULL::jsonb AS definition
            FROM public.user_server_configs AS c
            INNER JOIN public.mcp_servers AS s ON c.server_id = s.id
            WHERE
                c.user_id = v_user_id
                AND NOT (s.catalog_type = 'custom' AND s.created_by IS NOT DISTINCT FROM v_user_id)
            UNION ALL
            SELECT
                s.name,
                s.catalog_type,
                c.id,
                c.enabled,
                c.config_metadata,
                c.encrypted_config IS NOT NULL,
                jsonb_build_object(
                    'image', s.image, 'display_name', s.display_name, 'description', s.description,
                    'category', s.category, 'tags', s.tags, 'metadata', s.metadata,
                    'version', s.version, 'is_active', s.is_active
                )
            FROM public.mcp_servers AS s
            LEFT JOIN public.user_server_configs AS c ON s.id = c.server_id AND c.user_id = v_user_id
            WHERE s.created_by = v_user_id AND s.catalog_type = 'custom'
        ),

        -- {name: value}, or {name: {catalog type: value}} where two servers have the name.
        given AS MATERIALIZED (
            SELECT
                a.key AS name,
                b.key AS catalog_type,
                CASE WHEN jsonb_typeof(a.value) = 'object' THEN b.value ELSE a.value END AS value
            FROM jsonb_each(v_secrets) AS a
            LEFT JOIN LATERAL jsonb_each(
                CASE WHEN jsonb_typeof(a.value) = 'object' THEN a.value ELSE '{}' END
            ) AS b ON true
        ),

        matched AS MATERIALIZED (
            SELECT
                g.name,
                g.value,
                array_agg(m.catalog_type) FILTER (WHERE m.config_id IS NOT NULL) AS catalog_types
            FROM given AS g
            LEFT JOIN mine AS m
                ON g.name = m.name AND coalesce(g.catalog_type, m.catalog_type) = m.catalog_type
            GROUP BY g.name, g.catalog_type, g.value
        )

        SELECT
            (
                SELECT
                    format(
                        'What it holds for %s %s.',
                        left(x.name, 100),
                        CASE
                            WHEN x.catalog_types IS NULL THEN 'is for no configuration of the user'
                            WHEN cardinality(x.catalog_types) > 1
                                THEN 'is for two servers of that name'
                            ELSE 'is no encrypted value'
                        END
                    )
                FROM matched AS x
                WHERE
                    x.catalog_types IS NULL
                    OR cardinality(x.catalog_types) > 1
                    OR jsonb_typeof(x.value) IS DISTINCT FROM 'string'
                    OR octet_length(x.value #>> '{}') > 262144
                    OR public.sensitive_data_well_formed(x.value #>> '{}') IS NOT true
                ORDER BY x.name
                LIMIT 1
            ),
            coalesce(
                jsonb_agg(
                    jsonb_build_object('name', m.name, 'catalog_type', m.catalog_type)
                    || CASE
                        WHEN m.config_id IS NULL THEN '{}'
                        ELSE jsonb_build_object(
                            'enabled', coalesce(m.enabled, false),
                            'config_metadata', m.config_metadata,
                            'has_secret', m.has_secret OR x.value IS NOT NULL
                        )
                    END
                    || CASE
                        WHEN m.definition IS NULL THEN '{}'
                        ELSE jsonb_build_object('definition', m.definition)
                    END
                    || CASE
                        WHEN x.value IS NULL THEN '{}'
                        ELSE jsonb_build_object('secret', x.value)
                    END
                    ORDER BY m.catalog_type DESC, m.name
                ), '[]'
            ),
            count(x.value)
        INTO v_fault, v_configs, v_with
        FROM mine AS m
        LEFT JOIN matched AS x ON m.name = x.name AND m.catalog_type = ANY (x.catalog_types);
    END IF;
    IF v_fault IS NOT NULL THEN
        RAISE EXCEPTION 'p_secrets cannot be taken as it is'
            USING
                ERRCODE = 'PT400',
                DETAIL = v_fault,
                HINT = 'Pass {"name of a server": "its value, encrypted for the target"}, and where two servers '
                    'have the name {"name": {"predefined": "…", "custom": "…"}}.';
    END IF;
    PERFORM public.create_audit_log(
        v_user_id, 'config_exported', 'config', NULL,
        jsonb_build_object('configs', jsonb_array_length(v_configs), 'secrets', v_with), NULL, NULL
    );
    RETURN jsonb_build_object(
        'format', 'mcp_portal.configs',
        'version', 1,
        'exported_at', CURRENT_TIMESTAMP,
        'configs', v_configs
    );
END;
$$;

GRANT EXECUTE ON FUNCTION public.export_configs(jsonb) TO portal_app;

COMMENT ON FUNCTION public.export_configs(jsonb) IS
'Returns the configurations of the user of the context, and the definitions of their own custom servers, as a document '
'that import_configs() takes: {"format": "mcp_portal.configs", "version": 1, "exported_at": …, "configs": [{"name", '
'"catalog_type", "enabled", "config_metadata", "has_secret", "definition", "secret"}]}. An entry without enabled is a '
'custom server that the user has no configuration of. No secret is in it but those that p_secrets brings, which the '
'caller encrypted for the target: {name: value}, or {name: {catalog type: value}} where two servers have the name.
Audits: config_exported, with how many.
Errors: PT400 p_secrets is refused, and DETAIL says why; PT401 no active user acts.
Example: SELECT export_configs();';
