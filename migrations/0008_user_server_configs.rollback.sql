-- Drops the users' configurations.
-- loses: every configuration, its encrypted settings, and which container belongs to it

DROP TABLE public.user_server_configs;
