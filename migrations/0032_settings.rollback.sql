-- Drops the settings.
-- loses: what the owner has set

DROP TABLE public.settings;
