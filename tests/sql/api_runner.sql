-- A row is one runner's at a time, an earlier holder is fenced off, each change is audited once.
\ir begin.psql
\ir tenants.psql
SELECT plan(26);

INSERT INTO public.user_server_configs (id, user_id, server_id, enabled) VALUES
(
    'c0000000-0000-0000-0000-00000000000c', 'a0000000-0000-0000-0000-000000000001',
    '0a000000-0000-0000-0000-000000000001', true
);
CREATE FUNCTION tap.config() RETURNS uuid LANGUAGE sql
RETURN 'c0000000-0000-0000-0000-00000000000c'::uuid;
CREATE FUNCTION tap.audited() RETURNS SETOF text LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    RETURN QUERY
    SELECT concat_ws(' ', l.action, l.details ->> 'container_id', l.details ->> 'reason')
    FROM public.audit_logs AS l
    WHERE l.resource_id = tap.config() AND l.user_id IS NULL;
END;
$$;

SET LOCAL ROLE portal_runner;

-- Claims
SELECT is(
    public.claim_container(tap.config(), 'one', '1 minute'), 1::bigint, 'the first claim is had'
);
SELECT is(
    public.claim_container(tap.config(), 'two', '1 minute'), NULL,
    'a claim that lasts keeps others out'
);
SELECT is(
    public.claim_container(tap.config(), 'one', '1 minute'), NULL,
    'and whoever has it: two of its threads are two'
);
SELECT is(
    public.claim_container(public.uuid_generate_v4(), 'one', '1 minute'), NULL,
    'nobody claims what is not there'
);
SELECT is(
    (SELECT s.user_id FROM public.container_status AS s WHERE s.config_id = tap.config()),
    (SELECT c.user_id FROM public.user_server_configs AS c WHERE c.id = tap.config()),
    'the note is its user''s'
);

-- States
SELECT ok(
    public.record_container_state(tap.config(), 1, 'creating'), 'the holder writes a state'
);
SELECT ok(
    public.record_container_state(tap.config(), 1, 'running', 'c1', p_generation_seen => 'g'),
    'and the next'
);
SELECT ok(
    public.record_container_state(tap.config(), 1, 'running', 'c1', p_generation_seen => 'g'),
    'and the same again'
);
SELECT results_eq(
    $$
    SELECT c.container_state::text, c.container_id::text, s.generation_seen::text
    FROM public.user_server_configs AS c
    INNER JOIN public.container_status AS s ON c.id = s.config_id
    WHERE c.id = tap.config()
    $$,
    $$VALUES ('running', 'c1', 'g')$$,
    'the row and the note say it'
);
SELECT is(
    (SELECT string_agg(a.entry, ', ' ORDER BY a.entry) FROM tap.audited() AS a (entry)),
    'container_started c1', 'what changed is audited once'
);

-- Another takes over
UPDATE public.container_status SET lease_until = clock_timestamp() - interval '1 second'
WHERE config_id = tap.config();
SELECT is(
    public.claim_container(tap.config(), 'two', '1 minute'), 2::bigint,
    'a claim that ran out is taken over'
);
SELECT ok(
    NOT public.record_container_state(tap.config(), 1, 'error', 'c1', 'Exited'),
    'the earlier holder is fenced off'
);
SELECT is(
    (SELECT c.container_state::text FROM public.user_server_configs AS c WHERE c.id = tap.config()),
    'running', 'and has written nothing'
);
SELECT ok(
    public.record_container_state(
        tap.config(), 2, 'error', 'c1', 'Exited', repeat('x', 2000), 1, '5 seconds'
    ),
    'the present one writes, and what is too long is cut'
);
SELECT is(
    (
        SELECT s.next_retry_at > clock_timestamp() FROM public.container_status AS s
        WHERE s.config_id = tap.config()
    ),
    true, 'when it is tried again can be seen'
);
SELECT ok(
    public.record_container_state(tap.config(), 2, 'stopped'), 'what had failed is taken away'
);
SELECT is(
    (SELECT string_agg(a.entry, ', ' ORDER BY a.entry) FROM tap.audited() AS a (entry)),
    'container_failed c1 Exited, container_started c1',
    'the failure is audited, and that nothing ran any more is not'
);

-- One takes the place of another
SELECT ok(
    public.record_container_state(
        tap.config(), 2, 'running', 'c2', p_restart_served => '2026-01-01 00:00+00'
    )
    AND public.record_container_state(tap.config(), 2, 'error', 'c2', 'StopFailed')
    AND public.record_container_state(tap.config(), 2, 'running', 'c2')
    AND public.record_container_state(tap.config(), 2, 'stopping', 'c2')
    AND public.record_container_state(tap.config(), 2, 'creating'),
    'one starts, cannot be stopped, runs on, and gives way'
);
SELECT is(
    (SELECT count(*) FROM tap.audited() AS a (entry) WHERE a.entry = 'container_started c2'),
    1::bigint, 'that it ran on is no second start'
);
SELECT is(
    (SELECT count(*) FROM tap.audited() AS a (entry) WHERE a.entry = 'container_stopped c2'),
    1::bigint, 'that it gave way is its end'
);
SELECT is(
    (SELECT s.restart_served FROM public.container_status AS s WHERE s.config_id = tap.config()),
    '2026-01-01 00:00+00', 'which restart was served stays until the next one'
);
SELECT throws_ok(
    $$SELECT public.record_container_state(tap.config(), 2, 'gone')$$, '23514', NULL,
    'there is no other state'
);
SELECT throws_ok(
    $$SELECT public.audit_container('login', tap.config(), '{}')$$, 'PT403', NULL,
    'nor another action of the runner''s'
);
SELECT throws_ok(
    $$DELETE FROM public.container_status$$, '42501', NULL, 'the runner deletes no note'
);

-- Who reads
SET LOCAL ROLE portal_app;
SELECT is_empty(
    'SELECT config_id FROM public.container_status', 'nobody reads a note without a context'
);
SELECT throws_ok(
    'SELECT lease_owner FROM public.container_status', '42501', NULL,
    'whose lease it is, is not told'
);

SELECT finish();
ROLLBACK;
