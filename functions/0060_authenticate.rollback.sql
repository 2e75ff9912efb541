-- Drops asking who a session's token belongs to.

DROP FUNCTION public.authenticate(text, inet, text);
