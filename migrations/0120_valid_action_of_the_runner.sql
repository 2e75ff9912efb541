-- The actions that the container runner's function audits.
-- depends: 0048_valid_action_validated
--
-- NOT VALID, so that no row is read under a lock; 0121 reads them beside everyone's work. Each old
-- value is among the new ones.

-- Made anew, wider, in the same transaction.
-- squawk-ignore ban-drop-constraint
ALTER TABLE public.audit_logs DROP CONSTRAINT valid_action;
ALTER TABLE public.audit_logs
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
                'team_invitation_withdrawn', 'team_member_removed', 'team_role_changed',
                'container_started', 'container_stopped', 'container_failed'
            ]
        )
    ) NOT VALID;
