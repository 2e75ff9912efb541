-- Whose entries the functions of portal_api read: those of whom the user of the context reaches.
-- depends: 0010_audit_logs 0034_reach
--
-- portal_app itself reads none: what it may see, it asks read_audit_log for.

GRANT SELECT ON public.audit_logs TO portal_api;

CREATE POLICY audit_logs_api_read ON public.audit_logs
    FOR SELECT TO portal_api
    USING (user_id = ANY ((SELECT r.user_ids FROM public.app_reach AS r)::uuid[]));

CREATE POLICY audit_logs_api_admin_read ON public.audit_logs
    FOR SELECT TO portal_api
    USING (
        user_id BETWEEN (SELECT r.everyone_from FROM public.app_reach AS r)
        AND 'ffffffff-ffff-ffff-ffff-ffffffffffff'
    );

CREATE POLICY audit_logs_api_nameless_read ON public.audit_logs
    FOR SELECT TO portal_api
    USING (
        user_id IS NULL AND (
            SELECT u.role
            FROM public.users AS u
            WHERE u.id = (SELECT r.user_id FROM public.app_reach AS r)
        ) = 'super_admin'
    );

COMMENT ON POLICY audit_logs_api_read ON public.audit_logs IS
'The functions of portal_api read the user''s own entries, for a narrowed team_admin their members'' too.';
COMMENT ON POLICY audit_logs_api_admin_read ON public.audit_logs IS
'The functions of portal_api read everyone''s entries for a super_admin and a team_admin who is not narrowed.';
COMMENT ON POLICY audit_logs_api_nameless_read ON public.audit_logs IS
'The functions of portal_api read entries that name nobody for a super_admin alone.';
