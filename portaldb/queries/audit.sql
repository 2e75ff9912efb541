-- The trail, read for `portaldb audit`. A filter that is NULL leaves nothing out.

-- name: reader
SELECT
    CASE
        WHEN pg_has_role(session_user, 'mcp_admin', 'MEMBER') THEN 'mcp_admin'
        WHEN pg_has_role(session_user, 'portal_backup', 'MEMBER') THEN 'portal_backup'
    END AS role,
    pg_is_in_recovery() AS standby

-- name: settle
SELECT
    set_config('TimeZone', 'UTC', true),
    set_config('DateStyle', 'ISO, YMD', true),
    set_config('row_security', %(row_security)s, true),
    set_config('role', %(role)s, true)

-- name: person
SELECT u.id::text AS id
FROM public.users AS u
WHERE u.id::text = %(who)s OR u.azure_oid = %(who)s OR u.email = %(who)s
LIMIT 2

-- name: span
SELECT
    coalesce(
        %(since)s::timestamptz,
        (
            SELECT a.timestamp
            FROM public.audit_logs AS a
            WHERE isfinite(a.timestamp)
            ORDER BY a.timestamp
            LIMIT 1
        )
    ) AS first,
    coalesce(%(until)s::timestamptz, CURRENT_TIMESTAMP) AS last

-- name: entries
SELECT
    a.id::text AS id,
    to_json(a.timestamp) #>> '{{}}' AS timestamp,
    CASE WHEN isfinite(a.timestamp) THEN a.timestamp END AS moment,
    a.user_id::text AS user_id,
    a.action,
    a.resource_type,
    a.resource_id::text AS resource_id,
    a.details::text AS details,
    host(a.ip_address) AS ip_address,
    a.user_agent,
    a.session_id
FROM public.audit_logs AS a
WHERE
    {where}
ORDER BY a.timestamp {order}, a.id {order}
{limit}

-- name: now
SELECT clock_timestamp() AS now
