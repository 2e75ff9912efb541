-- What each of several actors reads and writes, told in one round trip; every write is undone.
--
-- Static statements, so that their plans are kept. A block with a handler is a savepoint, and what it learnt leaves
-- it in a variable. Writes read no column, so that nothing but their own policy holds them; which rows they
-- changed is looked at by the superuser who calls.

CREATE SCHEMA observe;
GRANT USAGE ON SCHEMA observe TO portal_app;

CREATE FUNCTION observe.become(p_actor text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM
        set_config('app.current_user_id', p_actor, true),
        set_config('role', 'portal_app', true);
END
$$;

CREATE FUNCTION observe.return() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('role', 'none', true);
END
$$;

CREATE FUNCTION observe.actor(p_actor text, p_tries jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    v_reads   jsonb;
    v_updates jsonb;
    v_deletes jsonb;
    v_states  text[] := '{}';
    v_try     jsonb;
BEGIN
    BEGIN
        PERFORM observe.become(p_actor);
        v_reads := jsonb_build_object(
            'users', ARRAY(SELECT id FROM public.users),
            'mcp_servers', ARRAY(SELECT id FROM public.mcp_servers),
            'user_server_configs', ARRAY(SELECT id FROM public.user_server_configs),
            'user_sessions', ARRAY(SELECT id FROM public.user_sessions),
            'teams', ARRAY(SELECT id FROM public.teams),
            'team_members', ARRAY(SELECT id FROM public.team_members),
            'user_dashboard', ARRAY(
                SELECT jsonb_build_array(user_id, total_servers, enabled_servers, running_servers)
                FROM public.user_dashboard
            ),
            'server_statistics', ARRAY(
                SELECT jsonb_build_array(server_id, total_users, active_users, running_instances)
                FROM public.server_statistics
            )
        );
        UPDATE public.users SET metadata = '{"touched": true}';
        UPDATE public.mcp_servers SET metadata = '{"touched": true}';
        UPDATE public.user_server_configs SET config_metadata = '{"touched": true}';
        UPDATE public.user_sessions SET last_activity = '-infinity';
        PERFORM observe.return();
        v_updates := jsonb_build_object(
            'users', ARRAY(SELECT id FROM public.users WHERE metadata ? 'touched'),
            'mcp_servers', ARRAY(SELECT id FROM public.mcp_servers WHERE metadata ? 'touched'),
            'user_server_configs', ARRAY(
                SELECT id FROM public.user_server_configs WHERE config_metadata ? 'touched'
            ),
            'user_sessions', ARRAY(SELECT id FROM public.user_sessions WHERE last_activity = '-infinity')
        );
        PERFORM observe.become(p_actor);
        DELETE FROM public.user_sessions;
        DELETE FROM public.user_server_configs;
        PERFORM observe.return();
        v_deletes := jsonb_build_object(
            'user_sessions', ARRAY(SELECT id FROM public.user_sessions),
            'user_server_configs', ARRAY(SELECT id FROM public.user_server_configs)
        );
        -- After the configurations, which go with their server.
        PERFORM observe.become(p_actor);
        DELETE FROM public.mcp_servers;
        PERFORM observe.return();
        v_deletes := v_deletes || jsonb_build_object('mcp_servers', ARRAY(SELECT id FROM public.mcp_servers));
        RAISE SQLSTATE 'PV001';
    EXCEPTION
        WHEN SQLSTATE 'PV001' THEN
            NULL;
    END;

    FOR v_try IN SELECT jsonb_array_elements(p_tries)
    LOOP
        BEGIN
            PERFORM observe.become(p_actor);
            CASE v_try ->> 0
                WHEN 'mcp_servers' THEN
                    INSERT INTO public.mcp_servers (name, image, catalog_type, created_by)
                    VALUES ('tried', 'x', v_try ->> 1, (v_try ->> 2)::uuid);
                WHEN 'user_server_configs' THEN
                    INSERT INTO public.user_server_configs (user_id, server_id)
                    VALUES ((v_try ->> 1)::uuid, (v_try ->> 2)::uuid);
                WHEN 'user_sessions' THEN
                    INSERT INTO public.user_sessions (user_id, session_token, expires_at)
                    VALUES ((v_try ->> 1)::uuid, 'tried', 'infinity');
            END CASE;
            RAISE SQLSTATE 'PV001';
        EXCEPTION
            WHEN SQLSTATE 'PV001' THEN
                v_states := v_states || 'allowed'::text;
            WHEN OTHERS THEN
                v_states := v_states || sqlstate;
        END;
    END LOOP;

    RETURN jsonb_build_object('reads', v_reads, 'updates', v_updates, 'left', v_deletes, 'tries', v_states);
END
$$;

CREATE FUNCTION observe.all(p_tries jsonb) RETURNS jsonb LANGUAGE sql AS $$
SELECT jsonb_object_agg(actor, observe.actor(actor, tries)) FROM jsonb_each(p_tries) AS each (actor, tries)
$$
