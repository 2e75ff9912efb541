-- Takes out the four servers, where they are as they were inserted and nobody configured them.
-- loses: those of the four servers that nobody has configured or edited
--
-- A server that was edited since, or that a user has configured, stays: deleting it would take the
-- users' configurations with it.

DELETE FROM public.mcp_servers AS s
USING (
    VALUES
    (
        'github', 'GitHub', 'GitHub API integration',
        'docker/mcp-github:latest', 'development'
    ),
    (
        'gitlab', 'GitLab', 'GitLab API integration',
        'docker/mcp-gitlab:latest', 'development'
    ),
    (
        'jira', 'Jira', 'Atlassian Jira integration',
        'docker/mcp-jira:latest', 'project-management'
    ),
    (
        'slack', 'Slack', 'Slack messaging integration',
        'docker/mcp-slack:latest', 'communication'
    )
) AS seed (name, display_name, description, image, category)
WHERE
    s.catalog_type = 'predefined'
    AND s.created_by IS NULL
    AND s.name = seed.name
    AND s.display_name = seed.display_name
    AND s.description = seed.description
    AND s.image = seed.image
    AND s.category = seed.category
    AND s.updated_at = s.created_at
    AND NOT EXISTS (SELECT 1 FROM public.user_server_configs AS c WHERE c.server_id = s.id);
