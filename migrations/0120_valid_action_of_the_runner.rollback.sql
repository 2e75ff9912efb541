-- Takes the API's actions alone; refused while the trail holds one of the runner's.

ALTER TABLE public.audit_logs DROP CONSTRAINT valid_action;
-- Not NOT VALID: rows of another action are to be found and refused.
ALTER TABLE public.audit_logs
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT valid_action CHECK (
        action = ANY (
            ARRAY[
                'login'::text, 'logout', 'server_enabled', 'server_disabled',
                'config_updated', 'config_exported', 'config_imported',
                'bulk_enable', 'bulk_disable', 'user_created', 'user_updated',
                'role_changed', 'custom_server_added', 'custom_server_removed',
                'login_refused', 'session_reuse_detected',
                'user_deactivated', 'user_reactivated', 'user_erased',
                'server_restart_requested',
                'team_created', 'team_disbanded', 'team_member_invited', 'team_member_joined',
                'team_invitation_withdrawn', 'team_member_removed', 'team_role_changed'
            ]
        )
    );
