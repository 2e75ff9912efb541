-- How long the trail and the history of jobs are kept, and how the trail is cut: three settings.
-- depends: 0032_settings
--
-- A setting that is missing keeps everything: every comparison with it is NULL.

-- Not NOT VALID: a table of a row a setting, which is read in no time.
ALTER TABLE public.settings
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT valid_retention CHECK (
        name NOT IN ('audit_retention', 'job_history') OR value ~ '^[1-9][0-9]{0,4} days$'
    ),
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT valid_audit_partitions CHECK (
        name <> 'audit_partitions' OR value IN ('monthly', 'daily')
    );

INSERT INTO public.settings (name, value, description) VALUES
(
    'audit_retention', '30 days',
    'How long an audit entry is kept, in days of 24 hours.'
),
(
    'audit_partitions', 'monthly',
    'How the audit trail is cut from now on: monthly, or daily where there are many entries.'
),
(
    'job_history', '30 days',
    'How long it is remembered that a job ran; a job''s last run is remembered in any case.'
);

-- Its own jobs' history is pruned by portal_maintenance, which has to know how long to keep it.
GRANT SELECT ON public.settings TO portal_maintenance;
