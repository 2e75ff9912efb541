-- What is a Docker image reference: the grammar of github.com/distribution/reference.
-- depends: 0001_default_privileges
--
-- [host[:port]/]path[/path…][:tag][@digest], of which a digest is one of SHA-256 or SHA-512, and a
-- name is at most 255 letters and not 64 hexadecimal digits, which would be an image's id.

CREATE FUNCTION public.valid_image_reference(p_image text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN
    length(p_image) <= 500
    AND p_image COLLATE "C" ~ (
        '^(?:'
        || '(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?'
        || '(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*'
        || '|\[[0-9A-Fa-f:]+\])(?::[0-9]+)?/)?'
        || '[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*'
        || '(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?'
        || '(?:@(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?$'
    )
    AND length(regexp_replace(p_image COLLATE "C", '(?::[^:/@]*)?(?:@.*)?$', '')) <= 255
    AND p_image COLLATE "C" !~ '^[0-9a-f]{64}$';

-- A CHECK calls it with the rights of whoever writes the row.
GRANT EXECUTE ON FUNCTION public.valid_image_reference(text) TO portal_app;

COMMENT ON FUNCTION public.valid_image_reference(text) IS
'Whether a text is a Docker image reference: [host[:port]/]path[:tag][@sha256:…], at most 500 letters. It looks at the '
'text alone, and asks no registry.
Example: SELECT valid_image_reference(''ghcr.io/acme/mcp-tool:1.2'');';
