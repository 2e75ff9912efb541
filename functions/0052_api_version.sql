-- Which version of the contract in docs/api.md this database keeps.
-- depends: 0001_default_privileges

CREATE FUNCTION public.api_version() RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN '1.0.0';

GRANT EXECUTE ON FUNCTION public.api_version() TO portal_app, portal_runner, portal_monitor;

COMMENT ON FUNCTION public.api_version() IS
'The version of what services may rely on, as semver.org has it: a change that breaks a caller raises the first number.
Example: SELECT api_version();';
