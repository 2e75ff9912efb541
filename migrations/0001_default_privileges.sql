-- What an object of ours allows from the moment it is made: nothing to PUBLIC.
--
-- PostgreSQL lets everyone execute a new function and use a new type. Here a function is closed
-- until a migration names who may call it. Only the global form can take away a built-in default:
-- with IN SCHEMA the REVOKE is accepted and does nothing.

ALTER DEFAULT PRIVILEGES FOR ROLE mcp_admin REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE mcp_admin REVOKE USAGE ON TYPES FROM PUBLIC;

-- portal_api owns the functions that do more than their caller may.
ALTER DEFAULT PRIVILEGES FOR ROLE portal_api REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE portal_api REVOKE USAGE ON TYPES FROM PUBLIC;

GRANT USAGE ON SCHEMA public TO
    portal_app, portal_runner, portal_monitor, portal_api, portal_maintenance, portal_backup;
