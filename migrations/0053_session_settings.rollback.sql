-- Takes the settings of sessions away.
-- loses: how long sessions last, where that was changed

DELETE FROM public.settings
WHERE name IN ('session_lifetime', 'session_idle', 'session_renewable', 'session_grace');
ALTER TABLE public.settings DROP CONSTRAINT valid_session_idle;
ALTER TABLE public.settings DROP CONSTRAINT valid_session_interval;
