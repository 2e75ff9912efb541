-- <What the function is for, in one sentence>
-- depends: <depends>

CREATE FUNCTION public.<name>()
RETURNS void
LANGUAGE plpgsql
SECURITY INVOKER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- <The work; every name with its schema.>
END;
$$;

REVOKE ALL ON FUNCTION public.<name>() FROM PUBLIC;

COMMENT ON FUNCTION public.<name>() IS '<What it does, for the services that call it>';
