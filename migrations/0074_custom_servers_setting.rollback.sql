-- Drops the setting: everyone may add custom servers.
-- loses: who may add custom servers

DELETE FROM public.settings WHERE name = 'custom_servers';
ALTER TABLE public.settings DROP CONSTRAINT valid_custom_servers;
