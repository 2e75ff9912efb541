-- Takes any text for an image again.

ALTER TABLE public.mcp_servers DROP CONSTRAINT valid_image;
