-- Drops the table of users.
-- loses: every user

DROP TABLE public.users;
