-- Drops signing in.

DROP FUNCTION public.sign_in(text, text, text, jsonb);
