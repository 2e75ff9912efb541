-- Gives PUBLIC back what PostgreSQL grants by default, and takes the roles' way into the schema.

REVOKE USAGE ON SCHEMA public FROM
    portal_app, portal_runner, portal_monitor, portal_api, portal_maintenance, portal_backup;

ALTER DEFAULT PRIVILEGES FOR ROLE portal_api GRANT USAGE ON TYPES TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE portal_api GRANT EXECUTE ON FUNCTIONS TO PUBLIC;

ALTER DEFAULT PRIVILEGES FOR ROLE mcp_admin GRANT USAGE ON TYPES TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE mcp_admin GRANT EXECUTE ON FUNCTIONS TO PUBLIC;
