-- Reads a document of export_configs() into a user's configurations, and tells of each entry.
-- depends: 0050_require_app_user 0076_custom_server_makers 0080_custom_servers 0083_export_configs
--
-- An entry by itself is a subtransaction, and all of them are one more: all or nothing is that the
-- outer one is undone, and its outcomes kept. Rows are locked in the order of bulk_enable(), and
-- entries gone through in that order: by server, and new servers by name.

CREATE FUNCTION public.config_entry_fault(p_entry jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN CASE
        WHEN jsonb_typeof(p_entry) IS DISTINCT FROM 'object'
            THEN 'the entry is no object'
        WHEN
            jsonb_typeof(p_entry -> 'name') IS DISTINCT FROM 'string'
            OR length(p_entry ->> 'name') NOT BETWEEN 1 AND 255
            THEN 'name is no text of 1 to 255 letters'
        WHEN coalesce(p_entry -> 'catalog_type', 'null') NOT IN ('"predefined"', '"custom"')
            THEN 'catalog_type is neither predefined nor custom'
        WHEN
            NOT p_entry ? 'enabled'
            AND (NOT p_entry ? 'definition' OR p_entry ?| ARRAY['config_metadata', 'has_secret', 'secret'])
            THEN 'enabled is missing'
        WHEN jsonb_typeof(p_entry -> 'enabled') <> 'boolean'
            THEN 'enabled is no boolean'
        WHEN
            jsonb_typeof(p_entry -> 'config_metadata') NOT IN ('object', 'null')
            OR octet_length((p_entry -> 'config_metadata')::text) > 65536
            THEN 'config_metadata is no object of at most 65536 bytes'
        WHEN jsonb_typeof(p_entry -> 'has_secret') <> 'boolean'
            THEN 'has_secret is no boolean'
        WHEN jsonb_typeof(p_entry -> 'secret') <> 'string'
            THEN 'secret is no text'
        WHEN p_entry ? 'definition' AND p_entry -> 'catalog_type' <> '"custom"'
            THEN 'a predefined server is not defined by a document'
        WHEN p_entry ? 'definition'
            THEN public.custom_server_fault(p_entry ->> 'name', p_entry -> 'definition')
    END;
END;
$$;

CREATE FUNCTION public.import_configs(
    p_document jsonb,
    p_all_or_nothing boolean DEFAULT true,
    p_overwrite boolean DEFAULT false
) RETURNS TABLE (ordinal integer, name text, outcome text, reason text, secret_missing boolean)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_user_id    uuid    := public.hold_app_user();
    v_overwrite  boolean := coalesce(p_overwrite, false);
    v_fault      text;
    v_entries    jsonb[];
    v_order      integer[];
    v_outcomes   text[];
    v_reasons    text[];
    v_missing    boolean[];
    v_server_ids uuid[];
    v_imported   uuid[]  := ARRAY[]::uuid[];
    v_added      uuid[]  := ARRAY[]::uuid[];
    v_place      integer;
    -- Of the entry at hand
    v_entry      jsonb;
    v_enabled    boolean;
    v_definition jsonb;
    v_is_active  boolean;
    v_metadata   jsonb;
    v_tags       text[];
    v_server     record;
    v_server_id  uuid;
    v_is_new     boolean;
    v_is_changed boolean;
    v_is_missing boolean;
    v_outcome    text;
    v_reason     text;
BEGIN
    v_fault := CASE
        WHEN jsonb_typeof(p_document) IS DISTINCT FROM 'object'
            THEN 'It is no object.'
        -- The first bound is told without writing the text out.
        WHEN pg_column_size(p_document) > 16777216 OR octet_length(p_document::text) > 1048576
            THEN 'It has more than 1048576 bytes.'
        WHEN p_document -> 'format' IS DISTINCT FROM '"mcp_portal.configs"'
            THEN 'Its format is not mcp_portal.configs.'
        WHEN p_document -> 'version' IS DISTINCT FROM '1'
            THEN 'Its version is not 1.'
        WHEN jsonb_typeof(p_document -> 'configs') IS DISTINCT FROM 'array'
            THEN 'Its configs is no list.'
        WHEN jsonb_array_length(p_document -> 'configs') > 1000
            THEN format('It has %s entries.', jsonb_array_length(p_document -> 'configs'))
    END;
    IF v_fault IS NOT NULL THEN
        RAISE EXCEPTION 'the document cannot be imported'
            USING
                ERRCODE = 'PT400',
                DETAIL = v_fault,
                HINT = 'Pass what export_configs() returned, in parts of at most 1000 entries and 1048576 bytes.';
    END IF;

    -- What the entries say by themselves, and in which order they are gone through.
    SELECT
        array_agg(e.entry ORDER BY e.place),
        array_agg(e.place ORDER BY s.id, e.entry ->> 'name', e.place),
        array_agg(CASE WHEN e.fault IS NOT NULL THEN 'refused' END ORDER BY e.place),
        array_agg(e.fault ORDER BY e.place),
        array_agg(false),
        coalesce(array_agg(s.id) FILTER (WHERE s.id IS NOT NULL), '{}')
    INTO v_entries, v_order, v_outcomes, v_reasons, v_missing, v_server_ids
    FROM (
        SELECT
            a.entry,
            a.place::integer AS place,
            coalesce(
                public.config_entry_fault(a.entry),
                CASE
                    WHEN
                        row_number() OVER (
                            PARTITION BY a.entry ->> 'name', a.entry ->> 'catalog_type' ORDER BY a.place
                        ) > 1
                        THEN 'an entry before it is for the same server'
                END
            ) AS fault
        FROM jsonb_array_elements(p_document -> 'configs') WITH ORDINALITY AS a (entry, place)
    ) AS e
    LEFT JOIN public.mcp_servers AS s
        ON e.entry ->> 'name' = s.name AND e.entry ->> 'catalog_type' = s.catalog_type
        AND e.fault IS NULL;

    BEGIN
        IF v_overwrite THEN
            PERFORM 1
            FROM public.mcp_servers AS s
            WHERE s.id = ANY (v_server_ids) AND s.created_by = v_user_id
            ORDER BY s.id
            FOR NO KEY UPDATE;
        END IF;
        PERFORM 1
        FROM public.user_server_configs AS c
        WHERE c.user_id = v_user_id AND c.server_id = ANY (v_server_ids)
        ORDER BY c.server_id
        FOR NO KEY UPDATE;

        FOREACH v_place IN ARRAY coalesce(v_order, '{}') LOOP
            CONTINUE WHEN v_outcomes[v_place] IS NOT NULL;
            v_entry := v_entries[v_place];
            v_is_new := false;
            v_is_changed := false;
            v_is_missing := false;
            v_outcome := 'refused';
            v_reason := NULL;
            <<entry>>
            BEGIN
                v_definition := v_entry -> 'definition';
                v_enabled := (v_entry ->> 'enabled')::boolean;
                v_is_active := coalesce((v_definition ->> 'is_active')::boolean, true);
                v_metadata := coalesce(nullif(v_definition -> 'metadata', 'null'), '{}');
                v_tags := NULL;
                IF jsonb_typeof(v_definition -> 'tags') = 'array' THEN
                    v_tags := ARRAY(SELECT jsonb_array_elements_text(v_definition -> 'tags'));
                END IF;
                SELECT
                    s.id,
                    coalesce(s.is_active, false) AS is_active,
                    s.created_by IS NOT DISTINCT FROM v_user_id AS is_own,
                    (
                        s.image, s.display_name, s.description, s.category, s.tags,
                        coalesce(s.metadata, '{}'), s.version, coalesce(s.is_active, false)
                    ) IS DISTINCT FROM (
                        v_definition ->> 'image', v_definition ->> 'display_name',
                        v_definition ->> 'description', v_definition ->> 'category', v_tags,
                        v_metadata, v_definition ->> 'version', v_is_active
                    ) AS is_another
                INTO v_server
                FROM public.mcp_servers AS s
                WHERE s.name = v_entry ->> 'name' AND s.catalog_type = v_entry ->> 'catalog_type';

                v_server_id := v_server.id;
                IF v_definition IS NULL THEN
                    IF v_server_id IS NULL THEN
                        v_reason := 'there is no such server here';
                        EXIT entry;
                    ELSIF v_enabled AND NOT v_server.is_active THEN
                        v_reason := 'the server is out of use here';
                        EXIT entry;
                    END IF;
                ELSIF v_server_id IS NULL THEN
                    IF NOT public.app_may_add_servers() THEN
                        v_reason := 'the user may not add custom servers';
                        EXIT entry;
                    END IF;
                    INSERT INTO public.mcp_servers (
                        name, image, catalog_type, display_name, description, category, tags,
                        metadata, version, created_by
                    ) VALUES (
                        v_entry ->> 'name', v_definition ->> 'image', 'custom',
                        v_definition ->> 'display_name', v_definition ->> 'description',
                        v_definition ->> 'category', v_tags, v_metadata,
                        v_definition ->> 'version', v_user_id
                    ) RETURNING id INTO v_server_id;
                    IF NOT v_is_active THEN
                        UPDATE public.mcp_servers AS s SET is_active = false
                        WHERE s.id = v_server_id;
                    END IF;
                    v_is_new := true;
                    v_is_changed := true;
                ELSIF NOT v_server.is_own THEN
                    -- To the letter what whoever does not see it is told.
                    v_reason := 'the name is taken';
                    EXIT entry;
                ELSIF v_server.is_another THEN
                    IF NOT v_overwrite THEN
                        v_outcome := 'skipped';
                        v_reason := 'another server of this name is there';
                        EXIT entry;
                    END IF;
                    UPDATE public.mcp_servers AS s
                    SET
                        image = v_definition ->> 'image',
                        display_name = v_definition ->> 'display_name',
                        description = v_definition ->> 'description',
                        category = v_definition ->> 'category',
                        tags = v_tags,
                        metadata = v_metadata,
                        version = v_definition ->> 'version',
                        is_active = v_is_active
                    WHERE s.id = v_server_id;
                    v_is_changed := true;
                END IF;

                IF v_enabled IS NOT NULL THEN
                    INSERT INTO public.user_server_configs AS c (
                        user_id, server_id, enabled, config_metadata, encrypted_config
                    ) VALUES (
                        v_user_id, v_server_id, v_enabled,
                        coalesce(nullif(v_entry -> 'config_metadata', 'null'), '{}'), v_entry ->> 'secret'
                    )
                    ON CONFLICT ON CONSTRAINT unique_user_server
                    -- A secret that is there stays, but where the document brings one.
                    DO UPDATE SET
                        enabled = excluded.enabled,
                        config_metadata = excluded.config_metadata,
                        encrypted_config = coalesce(excluded.encrypted_config, c.encrypted_config)
                    WHERE
                        v_overwrite
                        AND (c.enabled, c.config_metadata, c.encrypted_config) IS DISTINCT FROM (
                            excluded.enabled, excluded.config_metadata,
                            coalesce(excluded.encrypted_config, c.encrypted_config)
                        );
                    v_is_changed := v_is_changed OR FOUND;
                    v_is_missing := coalesce((v_entry ->> 'has_secret')::boolean, false) AND NOT EXISTS (
                        SELECT 1
                        FROM public.user_server_configs AS c
                        WHERE
                            c.user_id = v_user_id
                            AND c.server_id = v_server_id
                            AND c.encrypted_config IS NOT NULL
                    );
                END IF;
                IF v_is_changed THEN
                    v_outcome := 'imported';
                ELSE
                    v_outcome := 'skipped';
                    v_reason := CASE
                        WHEN v_enabled IS NULL THEN 'the server is there already'
                        WHEN v_overwrite THEN 'it is as the entry says already'
                        ELSE 'there is a configuration of it already'
                    END;
                END IF;
            EXCEPTION
                WHEN unique_violation THEN
                    v_reason := 'the name is taken';
                -- What require_encrypted_config says, which has nothing of the value in it.
                WHEN check_violation THEN
                    v_reason := SQLERRM;
                WHEN insufficient_privilege OR foreign_key_violation THEN
                    PERFORM public.require_app_user();
                    v_reason := 'the server, or the right to it, was taken away meanwhile';
            END;
            v_outcomes[v_place] := v_outcome;
            v_reasons[v_place] := v_reason;
            v_missing[v_place] := v_is_missing;
            IF v_outcome = 'imported' THEN
                v_imported := v_imported || v_server_id;
                IF v_is_new THEN
                    v_added := v_added || v_server_id;
                END IF;
            END IF;
        END LOOP;
        -- Whoever was shut out meanwhile sees no server either.
        IF 'refused' = ANY (v_outcomes) THEN
            PERFORM public.require_app_user();
        END IF;
        IF coalesce(p_all_or_nothing, true) AND 'refused' = ANY (v_outcomes) THEN
            -- To undo it all; caught below.
            RAISE EXCEPTION USING ERRCODE = 'triggered_action_exception';
        END IF;
    EXCEPTION
        WHEN triggered_action_exception THEN
            v_imported := '{}';
            FOREACH v_place IN ARRAY v_order LOOP
                IF v_outcomes[v_place] = 'imported' THEN
                    v_outcomes[v_place] := 'skipped';
                    v_reasons[v_place] := 'nothing is imported, because an entry is refused';
                    v_missing[v_place] := false;
                END IF;
            END LOOP;
    END;

    IF v_imported <> '{}' THEN
        PERFORM public.create_audit_log(
            v_user_id, 'config_imported', 'config', NULL,
            jsonb_build_object(
                'server_ids', v_imported,
                'custom_servers_added', v_added,
                'skipped', cardinality(array_positions(v_outcomes, 'skipped')),
                'refused', cardinality(array_positions(v_outcomes, 'refused')),
                'overwrite', v_overwrite
            ), NULL, NULL
        );
    END IF;
    RETURN QUERY
    SELECT
        told.place::integer,
        CASE WHEN jsonb_typeof(told.entry -> 'name') = 'string' THEN left(told.entry ->> 'name', 255) END,
        told.outcome,
        told.reason,
        told.missing
    FROM unnest(v_entries, v_outcomes, v_reasons, v_missing)
        WITH ORDINALITY AS told (entry, outcome, reason, missing, place)
    ORDER BY told.place;
END;
$$;

GRANT EXECUTE ON FUNCTION public.config_entry_fault(jsonb) TO portal_app;
GRANT EXECUTE ON FUNCTION public.import_configs(jsonb, boolean, boolean) TO portal_app;

COMMENT ON FUNCTION public.config_entry_fault(jsonb) IS
'What is wrong with an entry of a document of export_configs(), as a clause; NULL where nothing is.
Example: SELECT config_entry_fault(''{"name": "github", "catalog_type": "predefined", "enabled": true}'');';
COMMENT ON FUNCTION public.import_configs(jsonb, boolean, boolean) IS
'Imports a document of export_configs() for the user of the context and tells of each entry, in the order of the '
'document: outcome is imported, skipped (reason says why, such as that a configuration is there already) or refused '
'(reason says what is wrong). With p_all_or_nothing a refused entry means that nothing is imported, which is told and '
'is no error; else each entry is by itself. p_overwrite changes what is there already to what the document says; a '
'secret that is there stays but where the document brings one. secret_missing is true where there was a secret and none '
'is here. Custom servers are made again, under their names.
Audits: config_imported, once, where an entry was imported.
Errors: PT400 the document is no such document, of another version, or has more than 1000 entries or 1048576 bytes; '
'PT401 no active user acts.
Example: SELECT ordinal, name, outcome, reason, secret_missing FROM import_configs('
'''{"format": "mcp_portal.configs", "version": 1, "configs": []}'');';
