-- The change feed: who listens hears that a row changed, and looks at the table for what.
-- depends: 0004_users 0007_mcp_servers 0008_user_server_configs
--
-- Every login may LISTEN on any channel, so a message holds ids and nothing else. It is sent when
-- the transaction commits, and only when something changed that a service acts on: an UPDATE that
-- writes what was there, or that only moves updated_at, sends none.

CREATE FUNCTION public.notify_config_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_row record := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    PERFORM pg_notify(
        TG_ARGV[0],
        json_build_object(
            'op', lower(TG_OP), 'id', v_row.id,
            'user_id', v_row.user_id, 'server_id', v_row.server_id
        )::text
    );
    RETURN NULL;
END;
$$;

CREATE FUNCTION public.notify_row_change() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_row record := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    PERFORM pg_notify(
        TG_ARGV[0], json_build_object('op', lower(TG_OP), 'id', v_row.id)::text
    );
    RETURN NULL;
END;
$$;

CREATE TRIGGER notify_config_made
    AFTER INSERT OR DELETE ON public.user_server_configs
    FOR EACH ROW EXECUTE FUNCTION public.notify_config_change('portal_config');

CREATE TRIGGER notify_config_changed
    AFTER UPDATE ON public.user_server_configs
    FOR EACH ROW
    WHEN (
        (
            old.user_id, old.server_id, old.enabled, old.encrypted_config, old.config_metadata,
            old.restart_requested_at
        )
        IS DISTINCT FROM
        (
            new.user_id, new.server_id, new.enabled, new.encrypted_config, new.config_metadata,
            new.restart_requested_at
        )
    )
    EXECUTE FUNCTION public.notify_config_change('portal_config');

CREATE TRIGGER notify_state_changed
    AFTER UPDATE ON public.user_server_configs
    FOR EACH ROW
    WHEN (old.container_state IS DISTINCT FROM new.container_state)
    EXECUTE FUNCTION public.notify_config_change('portal_state');

CREATE TRIGGER notify_server_made
    AFTER INSERT OR DELETE ON public.mcp_servers
    FOR EACH ROW EXECUTE FUNCTION public.notify_row_change('portal_catalog');

CREATE TRIGGER notify_server_changed
    AFTER UPDATE ON public.mcp_servers
    FOR EACH ROW
    WHEN (
        (
            old.name, old.display_name, old.description, old.image, old.catalog_type,
            old.category, old.tags, old.metadata, old.version, old.created_by, old.is_active
        )
        IS DISTINCT FROM
        (
            new.name, new.display_name, new.description, new.image, new.catalog_type,
            new.category, new.tags, new.metadata, new.version, new.created_by, new.is_active
        )
    )
    EXECUTE FUNCTION public.notify_row_change('portal_catalog');

CREATE TRIGGER notify_user_changed
    AFTER UPDATE ON public.users
    FOR EACH ROW
    WHEN ((old.role, old.is_active) IS DISTINCT FROM (new.role, new.is_active))
    EXECUTE FUNCTION public.notify_row_change('portal_user');

COMMENT ON FUNCTION public.notify_config_change() IS
'Trigger: tells the channel of its argument that a configuration changed, as JSON with op, id, user_id and server_id.';
COMMENT ON FUNCTION public.notify_row_change() IS
'Trigger: tells the channel of its argument that a row changed, as JSON with op and id.';
COMMENT ON TRIGGER notify_config_made ON public.user_server_configs IS
'The channel portal_config hears of a configuration that is made or removed.';
COMMENT ON TRIGGER notify_config_changed ON public.user_server_configs IS
'The channel portal_config hears of a configuration whose settings changed, and not of its container.';
COMMENT ON TRIGGER notify_state_changed ON public.user_server_configs IS
'The channel portal_state hears of a container that came into another state.';
COMMENT ON TRIGGER notify_server_made ON public.mcp_servers IS
'The channel portal_catalog hears of a server that is added or removed.';
COMMENT ON TRIGGER notify_server_changed ON public.mcp_servers IS
'The channel portal_catalog hears of a server of which anything but updated_at changed.';
COMMENT ON TRIGGER notify_user_changed ON public.users IS
'The channel portal_user hears of a user whose role changed, or who was let in or shut out.';
