-- The four predefined servers are as the spec has them, and a second run changes nothing.
\ir begin.psql
SET LOCAL search_path = tap;
SELECT plan(3);

CREATE TEMPORARY TABLE expected AS
VALUES
(
    'github', 'GitHub', 'GitHub API integration',
    'docker/mcp-github:latest', 'predefined', 'development'
),
(
    'gitlab', 'GitLab', 'GitLab API integration',
    'docker/mcp-gitlab:latest', 'predefined', 'development'
),
(
    'jira', 'Jira', 'Atlassian Jira integration',
    'docker/mcp-jira:latest', 'predefined', 'project-management'
),
(
    'slack', 'Slack', 'Slack messaging integration',
    'docker/mcp-slack:latest', 'predefined', 'communication'
);

SELECT set_eq(
    $$
    SELECT
        s.name::text,
        s.display_name::text,
        s.description,
        s.image::text,
        s.catalog_type::text,
        s.category::text
    FROM public.mcp_servers AS s
    WHERE s.catalog_type = 'predefined' AND s.is_active AND s.created_by IS NULL
    $$,
    'TABLE expected',
    'the catalog offers the four servers'
);

-- The seed once more, after a DBA has changed a row of it
UPDATE public.mcp_servers SET image = 'mirror/mcp-jira:1' WHERE name = 'jira';
SET LOCAL ROLE mcp_admin;
\ir ../../seeds/0031_predefined_servers.sql
SELECT is(
    (SELECT count(*) FROM public.mcp_servers WHERE catalog_type = 'predefined'), 4::bigint,
    'a second run of the seed adds nothing'
);
SELECT is(
    (SELECT image::text FROM public.mcp_servers WHERE name = 'jira'), 'mirror/mcp-jira:1',
    'a second run of the seed leaves a server that was changed as it is'
);

SELECT finish();
ROLLBACK;
