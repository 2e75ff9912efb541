-- How long sessions last: four settings of the whole database.
-- depends: 0032_settings
--
-- A setting that is missing or NULL ends sessions and refuses tokens: every comparison with it is
-- NULL.

ALTER TABLE public.settings
    -- The table holds a few rows.
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT valid_session_interval CHECK (
        name NOT LIKE 'session_%' OR value ~ '^[1-9][0-9]{0,5} (seconds|minutes|hours|days)$'
    ),
    -- last_activity moves once a minute.
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT valid_session_idle CHECK (
        name <> 'session_idle'
        OR value ~ '^([2-9]|[1-9][0-9]+) minutes$'
        OR value ~ ' (hours|days)$'
    );

INSERT INTO public.settings (name, value, description) VALUES
(
    'session_lifetime', '8 hours',
    'How long a session lasts from when it was opened or refreshed, whatever its use.'
),
(
    'session_idle', '30 minutes',
    'How long a session lasts without use; then it is refused and cleaned up.'
),
(
    'session_renewable', '30 days',
    'How long after the sign-in its session can be refreshed; then the user signs in again.'
),
(
    'session_grace', '10 seconds',
    'How long a refreshed session''s tokens still serve requests under way: tabs refresh at once.'
);
