-- What the container runner asks and writes, as portal_runner.

-- name: become
SET ROLE portal_runner

-- name: listen
LISTEN portal_config;
LISTEN portal_state;
LISTEN portal_catalog;
LISTEN portal_user

-- name: instance
-- Tells this database's containers from those of another on the same engine.
SELECT left(encode(sha256(convert_to(concat_ws(' ', s.system_identifier, d.oid), 'UTF8')), 'hex'), 12) AS instance
FROM pg_control_system() AS s
CROSS JOIN pg_database AS d
WHERE d.datname = current_database()

-- name: rows
SELECT
    c.id,
    c.user_id,
    c.server_id,
    w.wanted,
    s.image,
    (s.metadata -> 'container')::text AS server_settings,
    (c.config_metadata -> 'container')::text AS user_settings,
    encode(sha256(convert_to(c.encrypted_config, 'UTF8')), 'hex') AS config_digest,
    c.restart_requested_at,
    n.restart_served,
    c.container_state AS state,
    c.container_id,
    n.reason,
    n.message,
    coalesce(n.restart_count, 0) AS restart_count,
    n.generation_wanted,
    n.generation_seen,
    extract(EPOCH FROM n.next_retry_at - clock_timestamp())::float AS due_in,
    extract(EPOCH FROM clock_timestamp() - coalesce(c.last_state_change, c.updated_at))::float AS age
FROM public.user_server_configs AS c
INNER JOIN public.users AS u ON c.user_id = u.id
INNER JOIN public.mcp_servers AS s ON c.server_id = s.id
LEFT JOIN public.container_status AS n ON c.id = n.config_id
CROSS JOIN LATERAL (
    SELECT
        -- A server elsewhere has no container.
        c.enabled IS TRUE AND u.is_active IS TRUE AND s.is_active IS TRUE
        AND coalesce(s.metadata ->> 'kind', '') <> 'remote' AS wanted
) AS w
WHERE
    (%(only)s::uuid IS NULL OR c.id = %(only)s)
    AND (w.wanted OR c.container_state <> 'stopped' OR c.id = ANY(%(seen)s::uuid[]))
ORDER BY c.last_state_change NULLS FIRST, c.id

-- name: secret
SELECT c.encrypted_config
FROM public.user_server_configs AS c
WHERE c.id = %(id)s

-- name: pending
UPDATE public.user_server_configs AS c
SET container_state = 'pending', last_state_change = clock_timestamp()
WHERE c.id = ANY(%(ids)s) AND coalesce(c.container_state, 'stopped') = 'stopped'

-- name: claim
SELECT public.claim_container(%(id)s, %(owner)s, %(lease)s) AS token

-- name: renew
UPDATE public.container_status AS n
SET lease_until = clock_timestamp() + %(lease)s
WHERE n.config_id = %(id)s AND n.fencing_token = %(token)s AND n.lease_owner = %(owner)s
RETURNING n.config_id

-- name: record
SELECT
    public.record_container_state(
        %(id)s, %(token)s, %(state)s, %(container_id)s, %(reason)s, %(message)s, %(restart_count)s,
        %(retry_after)s, %(generation_wanted)s, %(generation_seen)s, %(restart_served)s
    ) AS held

-- name: release
UPDATE public.container_status AS n
SET lease_owner = NULL, lease_until = NULL
WHERE n.config_id = %(id)s AND n.fencing_token = %(token)s AND n.lease_owner = %(owner)s

-- name: release_all
UPDATE public.container_status AS n
SET lease_owner = NULL, lease_until = NULL
WHERE n.lease_owner = %(owner)s

-- name: leased
SELECT n.config_id
FROM public.container_status AS n
WHERE n.lease_until > clock_timestamp()

-- name: audit_removed
SELECT
    public.audit_container(
        'container_stopped', %(id)s,
        jsonb_build_object('container_id', %(container_id)s::text, 'reason', 'Orphaned')
    ) AS entry

-- name: find
-- By its id, or so much of its beginning that it is the only one.
SELECT
    c.id,
    c.container_state AS state,
    c.container_id
FROM public.user_server_configs AS c
WHERE starts_with(c.id::text, lower(%(row)s))
ORDER BY c.id
LIMIT 2

-- name: states
SELECT
    coalesce(c.container_state, 'pending') AS state,
    count(*) AS rows
FROM public.user_server_configs AS c
WHERE c.container_state IS NOT NULL OR c.enabled
GROUP BY 1
ORDER BY 1

-- name: waiting
SELECT
    min(coalesce(c.last_state_change, c.updated_at)) AS since,
    count(*) AS rows
FROM public.user_server_configs AS c
WHERE c.enabled AND coalesce(c.container_state, 'pending') IN ('pending', 'creating')

-- name: errors
SELECT
    c.id AS config_id,
    n.reason,
    n.message,
    n.restart_count,
    n.next_retry_at
FROM public.user_server_configs AS c
LEFT JOIN public.container_status AS n ON c.id = n.config_id
WHERE c.container_state = 'error'
ORDER BY n.next_retry_at NULLS FIRST, c.id
LIMIT 100

-- name: leases
SELECT
    n.lease_owner AS owner,
    count(*) AS rows,
    min(n.lease_until) AS until
FROM public.container_status AS n
WHERE n.lease_until > clock_timestamp()
GROUP BY n.lease_owner
ORDER BY n.lease_owner
