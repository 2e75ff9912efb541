-- From here on a server's image is a Docker image reference.
-- depends: 0007_mcp_servers 0013_mcp_servers_policies 0071_valid_image_reference
--
-- It is refused while a row holds anything else, which nothing could run. NOT VALID, so that no row
-- is read under a lock; 0073 reads them beside everyone's work.

DO $$
DECLARE
    v_rows bigint;
BEGIN
    SELECT count(*) INTO v_rows
    FROM public.mcp_servers AS s
    WHERE NOT public.valid_image_reference(s.image);
    IF v_rows > 0 THEN
        RAISE EXCEPTION 'rows of mcp_servers whose image is no Docker image reference: %', v_rows
            USING
                ERRCODE = 'object_not_in_prerequisite_state',
                HINT = 'SELECT id, image FROM mcp_servers WHERE NOT valid_image_reference(image) shows them; '
                    'no engine runs such an image. Correct them, then run this again.';
    END IF;
END;
$$;

ALTER TABLE public.mcp_servers
    ADD CONSTRAINT valid_image CHECK (public.valid_image_reference(image)) NOT VALID;
