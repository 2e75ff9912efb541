-- Drops opening sessions.

DROP FUNCTION public.create_session();
DROP FUNCTION public.open_session(uuid, uuid, timestamptz);
DROP FUNCTION public.token_digest(text);
REVOKE EXECUTE ON FUNCTION public.base64url_encode(bytea) FROM portal_api;
