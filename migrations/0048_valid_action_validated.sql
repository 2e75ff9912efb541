-- Every entry of the trail has an action that valid_action knows.
-- depends: 0047_valid_action_of_the_api

ALTER TABLE public.audit_logs VALIDATE CONSTRAINT valid_action;
