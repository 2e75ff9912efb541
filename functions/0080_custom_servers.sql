-- A user adds a server of their own, and removes it.
-- depends: 0050_require_app_user 0051_create_audit_log_in_context
-- depends: 0072_valid_image 0075_app_may_add_servers
-- depends: 0076_custom_server_makers
--
-- What a definition may hold is said once, for whoever adds a server and for an import.

CREATE FUNCTION public.custom_server_fault(p_name text, p_definition jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF
        p_name IS NULL
        OR length(p_name) NOT BETWEEN 1 AND 255
        OR p_name ~ '[[:cntrl:]]|^\s|\s$'
    THEN
        RETURN 'name is no text of 1 to 255 letters without control characters and outer spaces';
    ELSIF jsonb_typeof(p_definition) IS DISTINCT FROM 'object' THEN
        RETURN 'definition is no object';
    ELSIF
        jsonb_typeof(p_definition -> 'image') IS DISTINCT FROM 'string'
        OR NOT public.valid_image_reference(p_definition ->> 'image')
    THEN
        RETURN 'image is no Docker image reference';
    ELSIF jsonb_typeof(p_definition -> 'is_active') NOT IN ('boolean', 'null') THEN
        RETURN 'is_active is no boolean';
    ELSIF
        jsonb_typeof(p_definition -> 'metadata') NOT IN ('object', 'null')
        OR octet_length((p_definition -> 'metadata')::text) > 65536
    THEN
        RETURN 'metadata is no object of at most 65536 bytes';
    ELSIF jsonb_typeof(p_definition -> 'tags') NOT IN ('array', 'null') THEN
        RETURN 'tags is no list';
    ELSIF
        jsonb_typeof(p_definition -> 'tags') = 'array'
        AND (
            jsonb_array_length(p_definition -> 'tags') > 100
            OR EXISTS (
                SELECT 1
                FROM jsonb_array_elements(p_definition -> 'tags') AS tag
                WHERE jsonb_typeof(tag) <> 'string' OR length(tag #>> '{}') NOT BETWEEN 1 AND 100
            )
        )
    THEN
        RETURN 'tags is no list of at most 100 texts of 1 to 100 letters';
    END IF;
    RETURN (
        SELECT
            format('%s is no text of at most %s letters', part.name, part.most)
        FROM (
            VALUES ('display_name', 255), ('description', 10000), ('category', 100), ('version', 50)
        ) AS part (name, most)
        WHERE
            jsonb_typeof(p_definition -> part.name) <> 'null'
            AND (
                jsonb_typeof(p_definition -> part.name) <> 'string'
                OR length(p_definition ->> part.name) > part.most
            )
        LIMIT 1
    );
END;
$$;

CREATE FUNCTION public.add_custom_server(
    p_name text,
    p_image text,
    p_display_name text DEFAULT NULL,
    p_description text DEFAULT NULL,
    p_category text DEFAULT NULL,
    p_tags text[] DEFAULT NULL,
    p_metadata jsonb DEFAULT NULL,
    p_version text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user_id uuid := public.hold_app_user();
    v_fault   text := public.custom_server_fault(
        p_name,
        jsonb_build_object(
            'image', p_image, 'display_name', p_display_name, 'description', p_description,
            'category', p_category, 'tags', p_tags, 'metadata', p_metadata, 'version', p_version
        )
    );
    v_server_id uuid;
BEGIN
    IF v_fault IS NOT NULL THEN
        RAISE EXCEPTION 'the custom server cannot be taken as it is'
            USING
                ERRCODE = 'PT400',
                DETAIL = format('It is refused because %s.', v_fault),
                HINT = 'Correct that argument and call it again.';
    END IF;
    BEGIN
        IF public.app_may_add_servers() THEN
            INSERT INTO public.mcp_servers (
                name, image, catalog_type, display_name, description, category, tags, metadata,
                version, created_by
            ) VALUES (
                p_name, p_image, 'custom', p_display_name, p_description, p_category, p_tags,
                coalesce(p_metadata, '{}'), p_version, v_user_id
            ) RETURNING id INTO v_server_id;
        END IF;
    EXCEPTION
        WHEN unique_violation THEN
            RAISE EXCEPTION 'the name is taken'
                USING
                    ERRCODE = 'PT409',
                    DETAIL = 'A custom server has this name; each name is taken once.',
                    HINT = 'Choose another name.';
        -- The right to it was taken away meanwhile.
        WHEN insufficient_privilege THEN
            PERFORM public.require_app_user();
    END;
    IF v_server_id IS NULL THEN
        RAISE EXCEPTION 'the user may not add custom servers'
            USING
                ERRCODE = 'PT403',
                DETAIL = 'The setting custom_servers gives that to others, or to nobody.',
                HINT = 'Ask an admin for the server, or the owner of the database for the right.';
    END IF;
    PERFORM public.create_audit_log(
        v_user_id, 'custom_server_added', 'server', v_server_id,
        jsonb_build_object('name', p_name, 'image', p_image), NULL, NULL
    );
    RETURN v_server_id;
END;
$$;

CREATE FUNCTION public.remove_custom_server(p_server_id uuid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user_id uuid := public.hold_app_user();
    v_name    text;
    v_image   text;
BEGIN
    DELETE FROM public.mcp_servers AS s
    WHERE s.id = p_server_id
    RETURNING s.name, s.image INTO v_name, v_image;
    IF v_name IS NOT NULL THEN
        PERFORM public.create_audit_log(
            v_user_id, 'custom_server_removed', 'server', p_server_id,
            jsonb_build_object('name', v_name, 'image', v_image), NULL, NULL
        );
    ELSIF EXISTS (
        SELECT 1
        FROM public.mcp_servers AS s
        WHERE s.id = p_server_id
    ) THEN
        RAISE EXCEPTION 'the server is not the user''s own'
            USING
                ERRCODE = 'PT403',
                DETAIL = 'A custom server is removed by its maker; the catalog is the owner''s of the database.',
                HINT = 'disable_server() switches it off for the user alone.';
    ELSE
        RAISE EXCEPTION 'there is no such server'
            USING
                ERRCODE = 'PT404',
                DETAIL = 'No server of this id is in the catalog or among the user''s own.',
                HINT = 'Take the id from mcp_servers, as the user reads it.';
    END IF;
END;
$$;

GRANT EXECUTE ON FUNCTION public.custom_server_fault(text, jsonb) TO portal_app;
GRANT EXECUTE ON FUNCTION
    public.add_custom_server(text, text, text, text, text, text[], jsonb, text)
TO portal_app;
GRANT EXECUTE ON FUNCTION public.remove_custom_server(uuid) TO portal_app;

COMMENT ON FUNCTION public.custom_server_fault(text, jsonb) IS
'What is wrong with a custom server of this name and definition (image, display_name, description, category, tags, '
'metadata, version, is_active), as a clause; NULL where nothing is.
Example: SELECT custom_server_fault(''my-tool'', ''{"image": "ghcr.io/acme/my-tool:1.2"}'');';
COMMENT ON FUNCTION public.add_custom_server(text, text, text, text, text, text[], jsonb, text) IS
'Adds a server of the user''s own to the catalog and returns its id; the user alone sees it, and admins. Who may is the '
'setting custom_servers. Metadata is no place for secrets.
Audits: custom_server_added.
Errors: PT400 an argument is refused, and DETAIL says which; PT401 no active user acts; PT403 the user may not add '
'custom servers; PT409 the name is taken.
Example: SELECT add_custom_server(''my-tool'', ''ghcr.io/acme/my-tool:1.2'', p_tags => ARRAY[''search'']);';
COMMENT ON FUNCTION public.remove_custom_server(uuid) IS
'Removes a server of the user''s own from the catalog, with every configuration of it.
Audits: custom_server_removed.
Errors: PT401 no active user acts; PT403 the server is another''s or of the catalog; PT404 the user sees no such server.
Example: SELECT remove_custom_server(''0a000000-0000-0000-0000-000000000001'');';
