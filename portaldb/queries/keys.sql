-- What the commands of the keys ask of user_server_configs, and what a rotation writes there.

-- name: actors
SELECT
    r.rolname AS name,
    session_user AS login,
    -- From 16 on a member may be one that cannot SET ROLE.
    r.rolname = session_user OR pg_has_role(
        session_user, r.oid,
        CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END
    ) AS may_become,
    has_schema_privilege(r.oid, t.relnamespace, 'USAGE')
    AND (
        SELECT bool_and(has_column_privilege(r.oid, t.oid, c.name, 'SELECT'))
        FROM unnest(ARRAY['id', 'user_id', 'server_id', 'encrypted_config']) AS c (name)
    ) AS may_select,
    has_column_privilege(r.oid, t.oid, 'encrypted_config', 'UPDATE') AS may_update,
    NOT rls.applies OR p.reads AS sees_all,
    NOT rls.applies OR p.reads AND p.writes AS writes_all
FROM (VALUES (1, 'portal_maintenance'), (2, 'mcp_admin'), (3, session_user)) AS who (nth, name)
INNER JOIN pg_roles AS r ON r.rolname = who.name
INNER JOIN pg_class AS t ON t.oid = to_regclass('public.user_server_configs')
CROSS JOIN LATERAL (
    SELECT
        t.relrowsecurity
        AND NOT r.rolsuper
        AND NOT r.rolbypassrls
        AND NOT (pg_has_role(r.oid, t.relowner, 'USAGE') AND NOT t.relforcerowsecurity) AS applies
) AS rls
CROSS JOIN LATERAL (
    SELECT
        coalesce(bool_or(p.polpermissive AND p.polcmd IN ('*', 'r') AND e.passes), false)
        AND NOT coalesce(bool_or(NOT p.polpermissive AND p.polcmd IN ('*', 'r')), false) AS reads,
        coalesce(bool_or(p.polpermissive AND p.polcmd IN ('*', 'w') AND e.passes), false)
        AND NOT coalesce(bool_or(NOT p.polpermissive AND p.polcmd IN ('*', 'w')), false) AS writes
    FROM pg_policy AS p
    CROSS JOIN LATERAL (
        -- The constant true as PostgreSQL keeps it: to write it as SQL waits for who locks the table.
        SELECT bool_and(
            w.condition IS NULL
            OR w.condition::text ~ '^\{CONST :consttype 16 [^{}]*:constvalue 1 \[ (0 )*1 (0 )*\]\}$'
        ) AS passes
        FROM (VALUES (p.polqual), (p.polwithcheck)) AS w (condition)
    ) AS e
    WHERE
        p.polrelid = t.oid
        AND (
            0 = any(p.polroles)
            OR EXISTS (
                SELECT FROM unnest(p.polroles) AS held (role)
                WHERE held.role <> 0 AND pg_has_role(r.oid, held.role, 'USAGE')
            )
        )
) AS p
ORDER BY who.nth

-- name: every
SELECT
    c.id,
    c.user_id,
    c.server_id,
    c.encrypted_config
FROM public.user_server_configs AS c
WHERE c.encrypted_config IS NOT NULL

-- name: count_every
SELECT count(*) AS rows
FROM public.user_server_configs AS c
WHERE c.encrypted_config IS NOT NULL

-- name: prepare
SELECT
    set_config('role', %(role)s, true),
    set_config('lock_timeout', '2s', true),
    set_config('statement_timeout', '5min', true),
    set_config('idle_in_transaction_session_timeout', '1min', true),
    -- A client that dies must not leave its statement, and with it the lock, running on the server.
    set_config('client_connection_check_interval', '1s', true),
    set_config('search_path', 'public, pg_temp', true)

-- name: batch
SELECT
    c.id,
    c.user_id,
    c.server_id,
    c.encrypted_config
FROM public.user_server_configs AS c
WHERE
    (%(last)s::uuid IS NULL OR c.id > %(last)s)
    AND (%(ids)s::uuid[] IS NULL OR c.id = any(%(ids)s))
    AND (NOT starts_with(c.encrypted_config, %(current)s) OR starts_with(c.encrypted_config, %(unbound)s))
ORDER BY c.id
LIMIT %(size)s
{lock}

-- name: lock
FOR NO KEY UPDATE SKIP LOCKED

-- name: stale
SELECT c.id
FROM public.user_server_configs AS c
WHERE
    (%(ids)s::uuid[] IS NULL OR c.id = any(%(ids)s))
    AND (NOT starts_with(c.encrypted_config, %(current)s) OR starts_with(c.encrypted_config, %(unbound)s))

-- name: count_stale
SELECT count(*) AS rows
FROM public.user_server_configs AS c
WHERE NOT starts_with(c.encrypted_config, %(current)s) OR starts_with(c.encrypted_config, %(unbound)s)

-- name: shared
-- By a digest, so that the sort holds no values.
SELECT d.id
FROM (
    SELECT
        c.id,
        count(*) OVER (PARTITION BY sha256(convert_to(c.encrypted_config, 'UTF8'))) AS rows
    FROM public.user_server_configs AS c
    WHERE starts_with(c.encrypted_config, 'eyJ')
) AS d
WHERE d.rows > 1

-- name: write
UPDATE public.user_server_configs AS c
SET encrypted_config = n.new
FROM unnest(%(ids)b::uuid[], %(old)b::text[], %(new)b::text[]) AS n (id, old, new)
WHERE c.id = n.id AND c.encrypted_config = n.old
RETURNING c.id
