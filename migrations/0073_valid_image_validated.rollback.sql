-- Makes the constraint again as one that holds for new rows.

ALTER TABLE public.mcp_servers DROP CONSTRAINT valid_image;
ALTER TABLE public.mcp_servers
    ADD CONSTRAINT valid_image CHECK (public.valid_image_reference(image)) NOT VALID;
