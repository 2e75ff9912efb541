-- Every server's image is a Docker image reference.
-- depends: 0072_valid_image

ALTER TABLE public.mcp_servers VALIDATE CONSTRAINT valid_image;
