-- Nobody is in a team who did not say yes, an active admin remains, each change is audited once.
\ir begin.psql
\ir tenants.psql
SELECT plan(39);

-- gamma is a standard_user, nel a team_admin; nel makes the team that this is about.
INSERT INTO public.users (id, azure_oid, email, role) VALUES
('c0000000-0000-0000-0000-000000000001', 'gamma', 'gamma@example.org', 'standard_user'),
('e0000000-0000-0000-0000-000000000002', 'nel', 'nel@example.org', 'team_admin');

CREATE TEMPORARY TABLE made (id uuid);
GRANT SELECT, INSERT ON made TO portal_app;
CREATE FUNCTION tap.team() RETURNS uuid LANGUAGE sql RETURN (SELECT m.id FROM made AS m);
CREATE FUNCTION tap.audited() RETURNS SETOF text LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    RETURN QUERY

       SELECT concat_ws(' ', u.azure_oid, l.action, l.resource_type, (l.details - 'name' - 'user_id' - 'invited_by')::text)
    FROM public.audit_logs AS l
    INNER JOIN public.users AS u ON l.user_id = u.id
    WHERE l.resource_id = tap.team();
END;
$$;
CREATE FUNCTION tap.members() RETURNS SETOF text LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    RETURN QUERY
    SELECT concat_ws(' ', u.azure_oid, m.role)
    FROM public.team_members AS m
    INNER JOIN public.users AS u ON m.user_id = u.id
    WHERE m.team_id = tap.team()
    ORDER BY 1;
END;
$$;

-- As nel, who makes it
SET LOCAL ROLE portal_app;
SET LOCAL app.current_user_id = 'e0000000-0000-0000-0000-000000000002';
INSERT INTO made SELECT public.create_team('search', 'those of the search');
SELECT results_eq(
    'SELECT tap.members()', ARRAY['nel admin'], 'who makes a team is its admin, and alone in it'
);
SELECT results_eq(
    'SELECT name::text, description, created_by FROM public.teams WHERE id = tap.team()',
    $$VALUES ('search', 'those of the search', 'e0000000-0000-0000-0000-000000000002'::uuid)$$,
    'the team is as it was made'
);
SELECT is(
    public.invite_team_member(tap.team(), 'a0000000-0000-0000-0000-000000000001'), 'invited',
    'nel invites alpha'
);
SELECT is(
    public.invite_team_member(tap.team(), 'a0000000-0000-0000-0000-000000000001'), 'unchanged',
    'and again'
);
SELECT results_eq('SELECT tap.members()', ARRAY['nel admin'], 'an invitation makes no member');
SELECT is(
    public.invite_team_member(tap.team(), 'c0000000-0000-0000-0000-000000000001'), 'invited',
    'nel invites gamma'
);
SELECT is(
    public.invite_team_member(tap.team(), 'b0000000-0000-0000-0000-000000000001', 'admin'),
    'invited',
    'nel invites beta as admin'
);
SELECT is(
    (SELECT count(*) FROM public.team_invitations), 3::bigint, 'nel reads whom the team has invited'
);
SELECT throws_ok(
    $$INSERT INTO public.team_invitations (team_id, user_id, invited_by)
    VALUES (tap.team(), 'd0000000-0000-0000-0000-000000000001',
    'e0000000-0000-0000-0000-000000000002')$$,
    '42501', NULL, 'nel writes no invitation directly'
);
SELECT throws_ok(
    $$SELECT public.leave_team(tap.team())$$, 'PT409', 'a team keeps an admin who is active',
    'nel, alone, cannot leave'
);

-- As alpha, who is invited
SET LOCAL app.current_user_id = 'a0000000-0000-0000-0000-000000000001';
SELECT results_eq(
    'SELECT name::text FROM public.teams WHERE id = tap.team()', ARRAY['search'],
    'alpha sees the team that asks'
);
SELECT is_empty(
    'SELECT 1 FROM public.team_members WHERE team_id = tap.team()', 'and not who is in it'
);
SELECT is(
    (SELECT count(*) FROM public.team_invitations), 1::bigint,
    'alpha sees their own invitation alone'
);
SELECT is(public.accept_team_invitation(tap.team()), 'joined', 'alpha accepts');
SELECT is(public.accept_team_invitation(tap.team()), 'unchanged', 'and again');
SELECT is_empty('SELECT 1 FROM public.team_invitations', 'the invitation is gone');
SELECT is(
    (SELECT count(*) FROM public.team_members WHERE team_id = tap.team()), 2::bigint,
    'alpha sees who is in the team'
);
SELECT throws_ok(
    $$SELECT public.set_team_role(tap.team(), 'a0000000-0000-0000-0000-000000000001', 'admin')$$,
    'PT403', NULL, 'alpha cannot promote themselves'
);

-- As gamma, who declines
SET LOCAL app.current_user_id = 'c0000000-0000-0000-0000-000000000001';
SELECT is(public.decline_team_invitation(tap.team()), 'declined', 'gamma declines');
SELECT throws_ok(
    $$SELECT public.accept_team_invitation(tap.team())$$, 'PT404', 'there is no such team',
    'and sees no team any more'
);

-- As beta, a standard_user who is an admin of the team
SET LOCAL app.current_user_id = 'b0000000-0000-0000-0000-000000000001';
SELECT is(public.accept_team_invitation(tap.team()), 'joined', 'beta joins');
SELECT results_eq(
    'SELECT tap.members()', ARRAY['alpha member', 'beta admin', 'nel admin'],
    'each as what they were invited'
);
SELECT is(
    public.set_team_role(tap.team(), 'e0000000-0000-0000-0000-000000000002', 'member'), 'changed',
    'beta demotes nel'
);
SELECT throws_ok(
    $$SELECT public.set_team_role(tap.team(), 'e0000000-0000-0000-0000-000000000002', 'admin')$$,
    'PT403', NULL, 'and cannot give a team_admin the reach over the members again'
);
SELECT throws_ok(
    $$SELECT public.set_team_role(tap.team(), 'b0000000-0000-0000-0000-000000000001', 'member')$$,
    'PT409', NULL, 'nor step down as the last admin'
);
SELECT throws_ok(
    $$SELECT public.remove_team_member(tap.team(), 'b0000000-0000-0000-0000-000000000001')$$,
    'PT409', NULL, 'nor remove themselves'
);
SELECT is(
    public.invite_team_member(tap.team(), 'c0000000-0000-0000-0000-000000000001'), 'invited',
    'beta invites gamma'
);
SELECT is(
    public.withdraw_team_invitation(tap.team(), 'c0000000-0000-0000-0000-000000000001'),
    'withdrawn',
    'and takes it back'
);
SELECT is(
    public.remove_team_member(tap.team(), 'a0000000-0000-0000-0000-000000000001'), 'removed',
    'beta removes alpha'
);

-- As nel, a member now
SET LOCAL app.current_user_id = 'e0000000-0000-0000-0000-000000000002';
SELECT is(public.leave_team(tap.team()), 'left', 'nel leaves');

-- As beta, who ends it with an invitation out
SET LOCAL app.current_user_id = 'b0000000-0000-0000-0000-000000000001';
SELECT is(
    public.invite_team_member(tap.team(), 'c0000000-0000-0000-0000-000000000001'), 'invited',
    'gamma is asked again'
);
SELECT is(public.disband_team(tap.team()), 'disbanded', 'beta disbands the team');
SELECT throws_ok($$SELECT public.disband_team(tap.team())$$, 'PT409', NULL, 'and not twice');
SELECT throws_ok(
    $$SELECT public.invite_team_member(tap.team(), 'c0000000-0000-0000-0000-000000000001')$$,
    'PT409', NULL, 'nobody is invited into it'
);
SELECT throws_ok($$SELECT public.leave_team(tap.team())$$, 'PT409', NULL, 'nor leaves it');
SELECT is_empty('SELECT 1 FROM public.team_invitations', 'its invitations are gone');
SELECT isnt(
    (SELECT is_active FROM public.teams WHERE id = tap.team()), true,
    'and beta reads that it is not active'
);

-- What the trail has of it, each once
RESET ROLE;
SELECT bag_eq(
    'SELECT tap.audited()',
    ARRAY[
        'nel team_created team {}',
        'nel team_member_invited team {"role": "member"}',
        'nel team_member_invited team {"role": "member"}',
        'nel team_member_invited team {"role": "admin"}',
        'alpha team_member_joined team {"role": "member"}',
        'gamma team_invitation_withdrawn team {"declined": true}',
        'beta team_member_joined team {"role": "admin"}',
        'beta team_role_changed team {"new_role": "member", "old_role": "admin"}',
        'beta team_member_invited team {"role": "member"}',
        'beta team_invitation_withdrawn team {"declined": false}',
        'beta team_member_removed team {"role": "member"}',
        'nel team_member_removed team {"role": "member"}',
        'beta team_member_invited team {"role": "member"}',
        'beta team_disbanded team {}'
    ],
    'each change is audited once, in the name of who made it, and what changed nothing is not'
);

-- A function of portal_api that is wrong
SET LOCAL ROLE portal_api;
SELECT throws_ok(
    $$INSERT INTO public.team_members (team_id, user_id) VALUES (tap.team(),
    'c0000000-0000-0000-0000-000000000001')$$,
    '42501', NULL, 'not even portal_api makes another a member'
);

SELECT finish();
ROLLBACK;
