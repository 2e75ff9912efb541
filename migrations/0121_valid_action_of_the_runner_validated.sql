-- Every entry of the trail has an action that valid_action knows, the runner's among them.
-- depends: 0120_valid_action_of_the_runner

ALTER TABLE public.audit_logs VALIDATE CONSTRAINT valid_action;
