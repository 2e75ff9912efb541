-- Which rows of people a function touches and locks: theirs whom it is about, and nobody else's.
\ir begin.psql
\ir tenants.psql
SELECT plan(32);

\set alpha 'a0000000-0000-0000-0000-000000000001'
\set beta 'b0000000-0000-0000-0000-000000000001'
\set gamma 'c0000000-0000-0000-0000-000000000001'
\set dora 'd0000000-0000-0000-0000-000000000001'
\set sam 'f0000000-0000-0000-0000-000000000001'
\set sue 'f0000000-0000-0000-0000-000000000002'
\set sid 'f0000000-0000-0000-0000-000000000003'
\set nobody '00000000-0000-0000-0000-00000000000f'

-- gamma and delta are standard users, nel a team_admin, sid and sue super_admins, and so was dave.
-- Nothing is theirs: what is made for somebody locks their row.
INSERT INTO public.users (id, azure_oid, email, role) VALUES
(:'gamma', 'gamma', 'gamma@example.org', 'standard_user'),
('c0000000-0000-0000-0000-000000000002', 'delta', 'delta@example.org', 'standard_user'),
('e0000000-0000-0000-0000-000000000002', 'nel', 'nel@example.org', 'team_admin'),
(:'sid', 'sid', 'sid@example.org', 'super_admin'),
(:'sue', 'sue', 'sue@example.org', 'super_admin');
INSERT INTO public.users (azure_oid, email, role, is_active)
VALUES ('dave', 'dave@example.org', 'super_admin', false);

-- Which of these rows are locked
CREATE FUNCTION tap.locked() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
    SELECT string_agg(u.azure_oid, ' ' ORDER BY u.azure_oid) FROM public.users AS u
    WHERE u.xmax <> '0' AND u.azure_oid IN ('gamma', 'delta', 'nel', 'sid', 'sue', 'dave')
$$;
CREATE FUNCTION tap.emails() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
    SELECT string_agg(u.email, ' ' ORDER BY u.email) FROM public.users AS u
    WHERE u.email NOT LIKE '%@example.org' OR u.display_name <> '' OR u.last_login_at IS NOT NULL
$$;
-- What the trail has, and nothing of it twice.
CREATE FUNCTION tap.news() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_news text := (
        SELECT string_agg(
            concat_ws(' ', actor.azure_oid, l.action, l.resource_type, u.azure_oid, l.details),
            ', ' ORDER BY l.action, u.azure_oid
        )
        FROM public.audit_logs AS l
        LEFT JOIN public.users AS actor ON l.user_id = actor.id
        LEFT JOIN public.users AS u ON l.resource_id = u.id
    );
BEGIN
    PERFORM set_config('portal.audit_retention', pg_current_xact_id()::text, true);
    DELETE FROM public.audit_logs;
    RETURN v_news;
END;
$$;
-- What a call is refused with: the state and the message, or what it says of it.
CREATE FUNCTION tap.refusal(call text, part text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_message text;
    v_detail  text;
BEGIN
    EXECUTE call;
    RETURN 'done';
EXCEPTION
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS v_message = MESSAGE_TEXT, v_detail = PG_EXCEPTION_DETAIL;
        RETURN CASE part WHEN 'detail' THEN v_detail ELSE SQLSTATE || ' ' || v_message END;
END;
$$;

-- Who acts
SET LOCAL ROLE portal_app;
SELECT is(
    tap.refusal('SELECT require_app_user()', 'detail'), 'app.current_user_id is not set.',
    'where nobody acts the refusal says so'
);
SELECT set_app_context(:'dora');
SELECT is(
    tap.refusal('SELECT require_app_user()', 'detail'),
    'The user that app.current_user_id names is unknown or deactivated.',
    'as it does of a deactivated user'
);
SELECT set_app_context(:'sue');
SET LOCAL ROLE portal_api;
SELECT is(hold_app_user(), :'sue', 'a function of portal_api holds sue, a super_admin');
SELECT is(tap.locked(), 'sue', 'and nobody else, whom they might change');
SET LOCAL ROLE portal_app;
RESET ROLE;
INSERT INTO public.user_sessions (user_id, session_token, refresh_token, expires_at, last_activity)
VALUES (
    :'sue', 'x', token_digest('a refresh token'), CURRENT_TIMESTAMP + interval '1 day', '2020-01-01'
);
SET LOCAL ROLE portal_app;
SELECT is(
    (SELECT r.outcome FROM refresh_session('a refresh token') AS r), 'refused',
    'a session of sue''s that was idle too long goes on no more'
);
SELECT is(tap.locked(), 'sue', 'and sue alone was held for that');
SELECT set_app_context(:'sue');
SELECT is(set_user_role(:'gamma', 'standard_user'), 'unchanged', 'sue leaves gamma what they are');
SELECT is(
    tap.locked(), 'gamma sid sue',
    'whoever changes gamma waits, and whoever changes a super_admin who is active'
);

-- Signing in
SELECT set_app_context(NULL);
SELECT results_eq(
    $$SELECT s.outcome, s.user_id, s.role FROM sign_in('sue', 'sue@example.com', 'Sue') AS s$$,
    format($$VALUES ('signed_in', %L::uuid, 'super_admin')$$, :'sue'), 'sue comes in as sue'
);
SELECT is(tap.emails(), 'sue@example.com', 'and takes over what changed for themselves alone');
SELECT is(
    tap.news(),
    'sue login user sue {}, sue user_updated user sue {"changed": ["email", "display_name"]}',
    'each entry is of the user that is sue'
);
SELECT is(
    (SELECT s.outcome FROM sign_in('dora', 'x') AS s), 'refused', 'a deactivated user does not'
);
SELECT is(
    tap.news(), 'dora login_refused user dora {"reason": "deactivated"}',
    'the entry is of the user that they are'
);
SELECT is((SELECT s.is_new FROM sign_in('eve', 'eve@example.org') AS s), true, 'eve is new');
SELECT is(
    tap.news(), 'eve login user eve {}, eve user_created user eve {}', 'which is said of that user'
);

-- Roles, and who is let in
SELECT set_app_context(:'sue');
SELECT is(set_user_role(:'gamma', 'team_admin'), 'changed', 'sue makes gamma a team_admin');
SELECT is(deactivate_user(:'gamma'), 'deactivated', 'and shuts them out');
SELECT is(
    tap.news(),
    'sue role_changed user gamma {"to": "team_admin", "from": "standard_user"}, '
    'sue user_deactivated user gamma {"sessions_ended": 0}',
    'the trail says whom, and from what to what'
);
SELECT is(reactivate_user(:'gamma'), 'reactivated', 'and lets them in again');
SELECT is(tap.news(), 'sue user_reactivated user gamma {}', 'which is audited');
SELECT is(deactivate_user(:'sam'), 'deactivated', 'of the super_admins one is shut out');
SELECT is(set_user_role(:'sid', 'team_admin'), 'changed', 'one steps down');
SELECT is(
    tap.refusal(format('SELECT deactivate_user(%L)', :'sue')),
    'PT409 the last super_admin stays one',
    'and the other is the last, though another would be one if they were let in'
);
SELECT is(reactivate_user(:'sam'), 'reactivated', 'sam is let in again');
SELECT isnt(tap.news(), NULL, 'all of it audited');

-- Erasing. Of dora, erased by hand, something was left.
SELECT set_app_context(:'alpha');
SELECT is(
    tap.refusal(format('SELECT erase_user(%L)', :'nobody')), 'PT403 only a super_admin may do this',
    'who may not erase others is not told who is there'
);
RESET ROLE;
UPDATE public.users SET erased_at = CURRENT_TIMESTAMP WHERE id = :'dora';
ALTER TABLE public.mcp_servers DISABLE TRIGGER USER;
INSERT INTO public.mcp_servers (name, image, catalog_type, created_by) VALUES
('of dora', 'x', 'custom', :'dora'), ('by alpha', 'x', 'predefined', :'alpha'),
('of beta', 'x', 'custom', :'beta');
ALTER TABLE public.mcp_servers ENABLE TRIGGER USER;
INSERT INTO public.team_invitations (team_id, user_id, invited_by) VALUES
('1b000000-0000-0000-0000-000000000001', :'alpha', :'beta'),
('1a000000-0000-0000-0000-000000000001', :'gamma', :'alpha'),
('1b000000-0000-0000-0000-000000000001', :'gamma', :'beta');
SET LOCAL ROLE portal_app;
SELECT set_app_context(:'alpha');
SELECT is(erase_user(:'alpha'), 'erased', 'alpha, a standard_user, erases themselves');
RESET ROLE;
SELECT results_eq(
    $$SELECT u.azure_oid::text, i.team_id FROM public.team_invitations AS i
    INNER JOIN public.users AS u ON i.user_id = u.id$$,
    $$VALUES ('gamma', '1b000000-0000-0000-0000-000000000001'::uuid)$$,
    'the invitations that they got and sent are gone, and no other'
);
SELECT results_eq(
    'SELECT s.name::text FROM public.mcp_servers AS s WHERE s.created_by IS NOT NULL ORDER BY 1',
    ARRAY['by alpha', 'of beta', 'of dora'], 'so is their custom server, and no other'
);
SELECT bag_eq(
    format(
        $$SELECT 'a session' FROM public.user_sessions WHERE user_id = %1$L
        UNION ALL SELECT 'a configuration' FROM public.user_server_configs WHERE user_id = %1$L
        UNION ALL SELECT 'a membership' FROM public.team_members WHERE user_id = %1$L$$, :'dora'
    ),
    ARRAY['a session', 'a configuration', 'a membership'], 'nothing goes of another, erased or not'
);
SELECT is(
    tap.news(),
    'erased:a0000000-0000-0000-0000-000000000001 user_erased user '
    'erased:a0000000-0000-0000-0000-000000000001 '
    '{"configs": 1, "sessions": 1, "custom_servers": 1}',
    'what went is counted'
);
SELECT results_eq(
    'SELECT u.id FROM public.users AS u WHERE u.erased_at IS NOT NULL ORDER BY 1',
    format('VALUES (%L::uuid), (%L)', :'alpha', :'dora'), 'nobody else was erased'
);

SELECT finish();
ROLLBACK;
