-- What a function of teams leaves alone, and what it refuses: other teams, other users, other invitations.
\ir begin.psql
\ir tenants.psql
SELECT plan(91);

\set alpha 'a0000000-0000-0000-0000-000000000001'
\set beta 'b0000000-0000-0000-0000-000000000001'
\set gamma 'c0000000-0000-0000-0000-000000000001'
\set delta 'c0000000-0000-0000-0000-000000000002'
\set tess 'e0000000-0000-0000-0000-000000000001'
\set nel 'e0000000-0000-0000-0000-000000000002'
\set sam 'f0000000-0000-0000-0000-000000000001'
\set dora 'd0000000-0000-0000-0000-000000000001'
\set nobody '00000000-0000-0000-0000-00000000000f'
\set of_alpha '1a000000-0000-0000-0000-000000000001'
\set of_beta '1b000000-0000-0000-0000-000000000001'
\set second '1b000000-0000-0000-0000-000000000002'

-- gamma and delta are standard users, nel a team_admin; beta leads a second team.
INSERT INTO public.users (id, azure_oid, email, role) VALUES
(:'gamma', 'gamma', 'gamma@example.org', 'standard_user'),
(:'delta', 'delta', 'delta@example.org', 'standard_user'),
(:'nel', 'nel', 'nel@example.org', 'team_admin');
INSERT INTO public.teams (id, name, created_by) VALUES (:'second', 'second of beta', :'beta');
INSERT INTO public.team_members (team_id, user_id, role) VALUES (:'second', :'beta', 'admin');

-- Who is in which team, and who is invited into which.
CREATE FUNCTION tap.members() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
    SELECT string_agg(concat_ws(' ', t.name, u.azure_oid, m.role), ', ' ORDER BY t.name, u.azure_oid)
    FROM public.team_members AS m
    INNER JOIN public.teams AS t ON m.team_id = t.id
    INNER JOIN public.users AS u ON m.user_id = u.id
$$;
CREATE FUNCTION tap.invited() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$
    SELECT string_agg(concat_ws(' ', t.name, u.azure_oid, i.role), ', ' ORDER BY t.name, u.azure_oid)
    FROM public.team_invitations AS i
    INNER JOIN public.teams AS t ON i.team_id = t.id
    INNER JOIN public.users AS u ON i.user_id = u.id
$$;
-- Invitations and memberships as the next step needs them, none besides.
CREATE FUNCTION tap.invite(VARIADIC invitations text[]) RETURNS void LANGUAGE sql SECURITY DEFINER AS $$
    DELETE FROM public.team_invitations;
    INSERT INTO public.team_invitations (team_id, user_id, role, invited_by)
    SELECT t.id, u.id, split_part(i, '/', 3), by.id
    FROM unnest(invitations) AS i
    INNER JOIN public.teams AS t ON t.name = split_part(i, '/', 1)
    INNER JOIN public.users AS u ON u.azure_oid = split_part(i, '/', 2)
    INNER JOIN public.users AS by ON by.azure_oid = split_part(i, '/', 4);
$$;
CREATE FUNCTION tap.join_teams(VARIADIC members text[]) RETURNS void LANGUAGE sql SECURITY DEFINER AS $$
    DELETE FROM public.team_members;
    INSERT INTO public.team_members (team_id, user_id, role)
    SELECT t.id, u.id, split_part(m, '/', 3)
    FROM unnest(members) WITH ORDINALITY AS l (m, place)
    INNER JOIN public.teams AS t ON t.name = split_part(m, '/', 1)
    INNER JOIN public.users AS u ON u.azure_oid = split_part(m, '/', 2)
    ORDER BY l.place;
$$;
-- What a call is refused with: the state and the message; and with what it says of it, or advises.
CREATE FUNCTION tap.refusal(call text, part text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v_message text;
    v_detail  text;
    v_hint    text;
BEGIN
    EXECUTE call;
    RETURN 'done';
EXCEPTION
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS
            v_message = MESSAGE_TEXT, v_detail = PG_EXCEPTION_DETAIL, v_hint = PG_EXCEPTION_HINT;
        RETURN CASE part WHEN 'detail' THEN v_detail WHEN 'hint' THEN v_hint ELSE SQLSTATE || ' ' || v_message END;
END;
$$;
-- What the trail says of teams, and nothing of it twice.
CREATE FUNCTION tap.news() RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    v_news text := (
        SELECT string_agg(
            concat_ws(' ', u.azure_oid, l.action, l.resource_type, t.name, l.details),
            ', ' ORDER BY l.action, u.azure_oid, t.name
        )
        FROM public.audit_logs AS l
        INNER JOIN public.users AS u ON l.user_id = u.id
        INNER JOIN public.teams AS t ON l.resource_id = t.id
    );
BEGIN
    PERFORM set_config('portal.audit_retention', pg_current_xact_id()::text, true);
    DELETE FROM public.audit_logs;
    RETURN v_news;
END;
$$;

-- Making a team
SET LOCAL ROLE portal_app;
SELECT set_app_context(:'alpha');
SELECT is(
    tap.refusal($$SELECT create_team('x')$$),
    'PT403 only a team_admin or a super_admin makes a team',
    'a standard_user makes no team'
);
SELECT set_app_context(:'sam');
SELECT is(
    tap.refusal(format('SELECT create_team(%L)', c.name)),
    'PT400 the name of the team is missing or too long',
    c.why
)
FROM (
    VALUES
    (NULL, 'a team has a name'), ('', 'which is not empty'), (E' \t', 'nor blank'),
    (repeat('x', 256), 'nor of more than 255 letters')
) AS c (name, why);
SELECT is(
    tap.refusal($$SELECT create_team('x', repeat('x', 10001))$$),
    'PT400 the description of the team is too long', 'a description has 10000 letters at most'
);
SELECT isnt(
    create_team(repeat('x', 255), repeat('x', 10000)), NULL,
    'a super_admin makes a team of the longest name'
);
RESET ROLE;
DELETE FROM public.team_members WHERE user_id = :'sam';
DELETE FROM public.teams WHERE name LIKE 'xx%';
SELECT tap.news();

-- Who sees a team, and who may change it
SET LOCAL ROLE portal_app;
SELECT set_app_context(:'alpha');
SELECT is(
    tap.refusal(format('SELECT invite_team_member(%L, %L)', :'of_beta', :'gamma')),
    'PT404 there is no such team',
    'alpha, who leads a team, sees no other'
);
SELECT set_app_context(:'tess');
SELECT is(
    tap.refusal(format('SELECT invite_team_member(%L, %L)', :'of_beta', :'gamma')),
    'PT403 only an admin of the team may do this',
    'tess, who reaches everyone and is in no team, sees it and may not change it'
);
SELECT set_app_context(:'sam');
SELECT is(
    invite_team_member(:'of_alpha', :'gamma'), 'invited',
    'sam, a super_admin, invites into a team that they are not in'
);
SELECT is(
    tap.news(),
    'sam team_member_invited team team of alpha '
    '{"name": "team of alpha", "role": "member", "user_id": "c0000000-0000-0000-0000-000000000001"}',
    'the trail says whom, into which team, as what'
);
SELECT set_app_context(:'beta');
SELECT t.ctid AS written FROM public.teams AS t WHERE t.id = :'second' \gset
SELECT is(
    invite_team_member(:'of_beta', :'gamma'), 'invited', 'beta invites gamma into one of two teams'
);
SELECT is(app_invited_team_ids(), '{}'::uuid[], 'which invites beta nowhere');
SELECT is(
    (SELECT t.ctid FROM public.teams AS t WHERE t.id = :'second'), :'written'::tid,
    'and does not touch the other team'
);
RESET ROLE;
UPDATE public.teams SET is_active = false WHERE id = :'second';
SET LOCAL ROLE portal_app;
SELECT is(
    app_led_team_ids(), ARRAY[:'of_beta'::uuid], 'a team that is not active is led by nobody'
);
SELECT is(
    tap.refusal(format('SELECT set_team_role(%L, %L, %L)', :'second', :'beta', 'member')),
    'PT409 the team is disbanded', 'and its admin changes nothing of it'
);
SELECT set_app_context(:'sam');
SELECT is(
    tap.refusal(format('SELECT disband_team(%L)', :'second')), 'PT409 the team is disbanded',
    'nor does a super_admin'
);
RESET ROLE;
UPDATE public.teams SET is_active = true WHERE id = :'second';

-- Whom an admin invites, and as what
SET LOCAL ROLE portal_app;
SELECT isnt(tap.news(), NULL, 'the trail had what beta did');
SELECT tap.invite('team of alpha/gamma/admin/sam', 'team of beta/gamma/member/beta');
SELECT tap.join_teams(
    'team of alpha/alpha/admin', 'team of alpha/delta/admin', 'team of beta/beta/admin',
    'team of beta/dora/member', 'second of beta/beta/admin', 'second of beta/delta/member'
);
SELECT is(
    tap.refusal(format('SELECT invite_team_member(%L, %L, %L)', :'of_beta', :'delta', c.role)),
    'PT400 the role is not one of a team', c.why
)
FROM (VALUES (NULL, 'a role is named'), ('owner', 'and one of the two')) AS c (role, why);
SELECT is(
    tap.refusal(format('SELECT invite_team_member(%L, %L)', :'of_beta', c.id)),
    'PT404 there is no such user', c.why
)
FROM (
    VALUES (:'nobody', 'nobody is invited'), (:'dora', 'nor a deactivated user'), (NULL, 'nor NULL')
) AS c (id, why);
SELECT is(
    tap.refusal(format('SELECT invite_team_member(%L, %L, %L)', :'of_beta', :'gamma', 'admin')),
    'PT409 the user is invited already, in another role', 'an invitation that waits keeps its role'
);
SELECT is(
    invite_team_member(:'second', :'gamma', 'admin'), 'invited', 'in another team it may be another'
);
SELECT is(
    invite_team_member(:'second', :'delta', 'member'), 'unchanged',
    'who is in the team stays what they are'
);
SELECT is(
    tap.refusal(format('SELECT invite_team_member(%L, %L, %L)', :'second', :'delta', 'admin')),
    'PT409 the user is in the team already, in another role', 'and no invitation changes it'
);
SELECT is(
    tap.invited(),
    'second of beta gamma admin, team of alpha gamma admin, team of beta gamma member',
    'one invitation was written'
);
SELECT matches(tap.news(), '^sam team_member_invited [^}]*}$', 'and audited once');

-- A reach that one has not is not given away
SELECT set_app_context(:'beta');
SELECT is(
    invite_team_member(:'of_beta', :'delta', 'admin'), 'invited',
    'a standard_user invites another as admin'
);
SELECT is(invite_team_member(:'of_beta', :'tess'), 'invited', 'and a team_admin as member');
SELECT is(
    tap.refusal(format('SELECT invite_team_member(%L, %L, %L)', :'of_beta', :'nel', 'admin')),
    'PT403 only a team_admin or a super_admin makes a team_admin an admin of a team',
    'but none as admin'
);
SELECT set_app_context(:'sam');
SELECT is(invite_team_member(:'of_beta', :'nel', 'admin'), 'invited', 'which a super_admin does');
SELECT isnt(tap.news(), NULL, 'all of it audited');

-- Accepting: of two invitations one
SELECT tap.invite(
    'team of alpha/gamma/member/alpha', 'team of beta/gamma/member/beta',
    'team of alpha/sam/member/alpha'
);
SELECT set_app_context(:'gamma');
SELECT is(accept_team_invitation(:'of_alpha'), 'joined', 'gamma, asked by two teams, joins one');
SELECT is(
    tap.invited(), 'team of alpha sam member, team of beta gamma member',
    'the other invitation waits, and so does that of another'
);
SELECT is(
    tap.news(),
    'gamma team_member_joined team team of alpha {"name": "team of alpha", "role": "member", '
    '"user_id": "c0000000-0000-0000-0000-000000000001", "invited_by": "a0000000-0000-0000-0000-000000000001"}',
    'the trail says as what, and by whom'
);
SELECT tap.invite('team of alpha/delta/member/alpha', 'team of alpha/sam/member/alpha');
SELECT set_app_context(:'sam');
SELECT is(accept_team_invitation(:'of_alpha'), 'joined', 'sam joins');
SELECT is(
    tap.invited(), 'team of alpha delta member',
    'and answers for nobody else, though they lead every team'
);
SELECT set_app_context(:'tess');
SELECT is(
    tap.refusal(format('SELECT accept_team_invitation(%L)', :'of_beta')),
    'PT404 there is no such invitation',
    'tess, in no team and not invited, joins none that they see'
);
RESET ROLE;
SELECT tap.join_teams('team of beta/beta/admin', 'team of alpha/tess/member');
SET LOCAL ROLE portal_app;
SELECT is(
    tap.refusal(format('SELECT accept_team_invitation(%L)', :'of_beta')),
    'PT404 there is no such invitation',
    'nor one beside that they are in'
);
SELECT is(accept_team_invitation(:'of_alpha'), 'unchanged', 'who is in the team stays');
SELECT tap.invite('team of alpha/tess/admin/sam');
SELECT is(accept_team_invitation(:'of_alpha'), 'unchanged', 'also with an invitation');
SELECT is(tap.members(), 'team of alpha tess member, team of beta beta admin', 'as what they were');
SELECT isnt(tap.news(), NULL, 'the trail had sam');
SELECT is(tap.news(), NULL, 'and is empty now');

-- Accepting what whoever sent it may not send any more: delta was an admin of alpha's team, and is of beta's.
SELECT tap.join_teams(
    'team of alpha/alpha/admin', 'team of alpha/delta/member', 'team of beta/delta/admin'
);
SELECT tap.invite('team of alpha/gamma/member/delta', 'team of alpha/tess/admin/alpha');
SELECT set_app_context(:'gamma');
SELECT is(
    tap.refusal(format('SELECT accept_team_invitation(%L)', :'of_alpha')),
    'PT409 the invitation holds no longer',
    'of who is no admin of this team any more'
);
SELECT set_app_context(:'tess');
SELECT is(
    tap.refusal(format('SELECT accept_team_invitation(%L)', :'of_alpha')),
    'PT409 the invitation holds no longer',
    'of a standard_user who would make a team_admin an admin'
);
SELECT is(
    tap.invited(), 'team of alpha gamma member, team of alpha tess admin',
    'what was refused waits, to be declined'
);
SELECT tap.join_teams('team of alpha/alpha/admin', 'team of alpha/dora/admin');
SELECT tap.invite('team of alpha/tess/member/dora');
SELECT is(
    tap.refusal(format('SELECT accept_team_invitation(%L)', :'of_alpha')),
    'PT409 the invitation holds no longer',
    'of a deactivated admin'
);
SELECT is(tap.news(), NULL, 'none of it is audited');
SELECT tap.invite('team of alpha/tess/member/alpha', 'team of beta/tess/admin/sam');
SELECT is(
    accept_team_invitation(:'of_alpha'), 'joined', 'as member a team_admin joins by a standard_user'
);
SELECT is(
    accept_team_invitation(:'of_beta'), 'joined',
    'and as admin by a super_admin, who is not in the team'
);
SELECT tap.join_teams('team of alpha/alpha/admin', 'team of beta/tess/admin');
SELECT tap.invite('team of beta/nel/admin/tess', 'team of alpha/gamma/admin/alpha');
SELECT set_app_context(:'nel');
SELECT is(accept_team_invitation(:'of_beta'), 'joined', 'or by an admin who is a team_admin');
SELECT set_app_context(:'gamma');
SELECT is(
    accept_team_invitation(:'of_alpha'), 'joined',
    'a standard_user joins as admin by a standard_user'
);
SELECT is(
    tap.members(),
    'team of alpha alpha admin, team of alpha gamma admin, team of beta nel admin, team of beta tess admin',
    'each as what they were invited'
);
SELECT isnt(tap.news(), NULL, 'all of it audited');

-- Declining and withdrawing
SELECT tap.invite(
    'team of alpha/sam/member/alpha', 'team of beta/sam/member/tess',
    'team of alpha/delta/member/alpha',
    'team of beta/delta/member/tess'
);
SELECT set_app_context(:'sam');
SELECT is(
    decline_team_invitation(:'of_alpha'), 'declined', 'sam, asked by two teams, declines one'
);
SELECT is(
    tap.invited(), 'team of alpha delta member, team of beta delta member, team of beta sam member',
    'the other invitation waits, and so do those of others'
);
SELECT is(
    tap.refusal(format('SELECT decline_team_invitation(%L)', :'of_alpha')),
    'PT404 there is no such invitation',
    'who is not invited declines nothing'
);
SELECT is(
    withdraw_team_invitation(:'of_beta', :'delta'), 'withdrawn', 'sam takes back that of delta'
);
SELECT is(
    tap.invited(), 'team of alpha delta member, team of beta sam member',
    'into this team, and no other''s'
);
SELECT is(
    tap.refusal(format('SELECT withdraw_team_invitation(%L, %L)', :'of_beta', :'delta')),
    'PT404 there is no such invitation', 'once'
);
SELECT is(
    tap.news(),
    'sam team_invitation_withdrawn team team of alpha {"name": "team of alpha", "user_id": '
    '"f0000000-0000-0000-0000-000000000001", "declined": true}, '
    'sam team_invitation_withdrawn team team of beta {"name": "team of beta", "user_id": '
    '"c0000000-0000-0000-0000-000000000002", "declined": false}',
    'each is audited once, with whom it was for'
);

-- Roles: gamma is an admin of beta's second team, and a member of beta's team.
SELECT tap.join_teams(
    'second of beta/gamma/admin', 'second of beta/beta/admin', 'team of beta/beta/admin',
    'team of beta/gamma/member', 'team of beta/dora/admin', 'second of beta/delta/member'
);
SELECT set_app_context(:'beta');
SELECT is(
    tap.refusal(format('SELECT set_team_role(%L, %L, %L)', :'of_beta', :'gamma', c.role)),
    'PT400 the role is not one of a team', c.why
)
FROM (VALUES (NULL, 'a role is named'), ('owner', 'and one of the two')) AS c (role, why);
SELECT is(
    set_team_role(:'of_beta', :'gamma', 'member'), 'unchanged', 'what gamma is already stays'
);
SELECT is(set_team_role(:'second', :'gamma', 'admin'), 'unchanged', 'in either team');
SELECT is(
    tap.refusal(format('SELECT set_team_role(%L, %L, %L)', :'of_beta', :'delta', 'member'), 'detail'),
    'This user is not in this team.', 'a member of another team is none of this'
);
SELECT is(tap.news(), NULL, 'none of it is audited');
SELECT is(
    tap.refusal(format('SELECT set_team_role(%L, %L, %L)', :'of_beta', :'beta', 'member'), 'hint'),
    'Make another member an admin first: set_team_role().',
    'an admin who is deactivated does not count'
);
SELECT is(set_team_role(:'of_beta', :'gamma', 'admin'), 'changed', 'beta promotes gamma');
SELECT is(
    set_team_role(:'second', :'gamma', 'member'), 'changed', 'and demotes them in the other team'
);
SELECT is(
    tap.members(),
    'second of beta beta admin, second of beta delta member, second of beta gamma member, '
    'team of beta beta admin, team of beta dora admin, team of beta gamma admin',
    'each in that team alone'
);
SELECT tap.join_teams(
    'team of alpha/alpha/admin', 'team of beta/beta/admin', 'team of beta/gamma/member'
);
SELECT set_app_context(:'alpha');
SELECT is(
    tap.refusal(format('SELECT leave_team(%L)', :'of_alpha'), 'hint'),
    'Nobody else is in the team: disband_team() ends it.',
    'who is alone in a team is told how to end it'
);
SELECT is(
    tap.refusal(format('SELECT set_team_role(%L, %L, %L)', :'of_alpha', :'alpha', 'member'), 'hint'),
    'Nobody else is in the team: disband_team() ends it.', 'in a role that they would give up too'
);
SELECT isnt(tap.news(), NULL, 'roles are audited');

-- Removing: what beta sent for this team goes, and nothing else.
SELECT tap.join_teams(
    'team of beta/gamma/admin', 'team of beta/beta/admin', 'second of beta/beta/admin',
    'team of alpha/alpha/admin'
);
SELECT tap.invite(
    'team of beta/nel/member/beta', 'team of beta/tess/member/gamma',
    'second of beta/nel/member/beta'
);
SELECT set_app_context(:'sam');
SELECT is(
    tap.refusal(format('SELECT remove_team_member(%L, %L)', :'of_beta', :'alpha')),
    'PT404 there is no such member',
    'who is in another team is not removed from this'
);
SELECT is(remove_team_member(:'of_beta', :'beta'), 'removed', 'sam removes beta');
SELECT is(
    tap.members(), 'second of beta beta admin, team of alpha alpha admin, team of beta gamma admin',
    'from this team, and nobody else'
);
SELECT is(
    tap.invited(), 'second of beta nel member, team of beta tess member',
    'with what beta sent for it'
);
SELECT is(
    tap.news(),
    'sam team_member_removed team team of beta {"name": "team of beta", "role": "admin", '
    '"user_id": "b0000000-0000-0000-0000-000000000001"}',
    'the trail says whom, and what they were'
);

-- Leaving
SELECT tap.join_teams(
    'team of beta/beta/admin', 'team of beta/gamma/admin', 'team of beta/sam/member',
    'team of beta/delta/member',
    'team of alpha/sam/member', 'team of alpha/tess/member'
);
SELECT is(leave_team(:'of_beta'), 'left', 'sam leaves one of two teams');
SELECT set_app_context(:'gamma');
SELECT is(leave_team(:'of_beta'), 'left', 'gamma leaves as an admin, for another is there');
SELECT is(
    tap.members(),
    'team of alpha sam member, team of alpha tess member, team of beta beta admin, team of beta delta member',
    'nobody else leaves, and of no other team'
);
SELECT is(
    tap.news(),
    'gamma team_member_removed team team of beta {"name": "team of beta", "role": "admin", '
    '"user_id": "c0000000-0000-0000-0000-000000000001"}, '
    'sam team_member_removed team team of beta {"name": "team of beta", "role": "member", '
    '"user_id": "f0000000-0000-0000-0000-000000000001"}',
    'each is audited once'
);
SELECT set_app_context(:'tess');
SELECT is(
    tap.refusal(format('SELECT leave_team(%L)', :'of_beta')), 'PT404 the user is not in the team',
    'who is in another team does not leave this'
);

-- Disbanding: beta is invited elsewhere, and leads another team.
SELECT tap.join_teams(
    'team of beta/beta/admin', 'second of beta/beta/admin', 'team of alpha/alpha/admin'
);
SELECT tap.invite(
    'team of beta/gamma/member/beta', 'second of beta/gamma/member/beta',
    'team of alpha/beta/member/alpha'
);
SELECT set_app_context(:'beta');
SELECT is(disband_team(:'of_beta'), 'disbanded', 'beta disbands one of two teams');
SELECT is(
    tap.invited(), 'second of beta gamma member, team of alpha beta member',
    'with its invitations alone'
);
RESET ROLE;
SELECT results_eq(
    'SELECT name::text FROM public.teams WHERE NOT is_active', ARRAY['team of beta'],
    'and no other team'
);
SELECT is(
    tap.news(), 'beta team_disbanded team team of beta {"name": "team of beta"}',
    'which is audited once'
);

SELECT finish();
ROLLBACK;
