-- The users whom the owner makes administrators.

-- name: find
SELECT u.id, u.email, u.role, u.is_active, u.erased_at IS NOT NULL AS is_erased
FROM public.users AS u
WHERE u.id::text = lower(%(who)s) OR u.azure_oid = %(who)s OR lower(u.email) = lower(%(who)s)
ORDER BY u.id
FOR NO KEY UPDATE

-- name: promote
UPDATE public.users AS u
SET role = 'super_admin'
WHERE u.id = %(id)s

-- name: audit
INSERT INTO public.audit_logs (action, resource_type, resource_id, details)
VALUES (
    'role_changed', 'user', %(id)s,
    jsonb_build_object('from', %(before)s::text, 'to', 'super_admin', 'by', 'the owner of the database')
)
