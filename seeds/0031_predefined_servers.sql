-- The four servers that every installation offers.
-- depends: 0007_mcp_servers 0013_mcp_servers_policies
--
-- A server of that name that is there already is somebody's own and stays as it is.

INSERT INTO public.mcp_servers (
    name, display_name, description, image, catalog_type, category
) VALUES
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
)
ON CONFLICT (name, catalog_type) DO NOTHING;
