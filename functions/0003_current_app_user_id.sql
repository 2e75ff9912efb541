-- Whose rows this transaction is about: the setting app.current_user_id, read in one place.
-- depends: 0001_default_privileges
--
-- The spec casts the setting itself. That is an error when it was never set, and a cast error on ''
-- too, which is what a SET LOCAL leaves behind on a pooled connection: both mean nobody, so both
-- are NULL here and match no row. A malformed value is a caller's bug and stays an error.
--
-- A body of SQL-standard form resolves its names when it is made, whatever the caller's search path
-- is, and the planner can inline it.

CREATE FUNCTION public.current_app_user_id() RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('app.current_user_id', true), '')::uuid;

GRANT EXECUTE ON FUNCTION public.current_app_user_id() TO portal_app, portal_api;

COMMENT ON FUNCTION public.current_app_user_id() IS
'The user named by app.current_user_id; NULL when it is unset or empty, an error when it is no UUID.';
