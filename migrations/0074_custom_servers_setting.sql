-- A setting: who may add custom servers, and change theirs.
-- depends: 0032_settings

-- Not NOT VALID: a table of a row a setting, which is read in no time.
ALTER TABLE public.settings
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT valid_custom_servers CHECK (
        name <> 'custom_servers' OR value IN ('everyone', 'admins', 'nobody')
    );

INSERT INTO public.settings (name, value, description) VALUES
(
    'custom_servers',
    'everyone',
    'Who may add custom servers and change their own: everyone, admins of either kind, or nobody.'
);
