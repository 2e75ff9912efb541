-- The trigger function that keeps updated_at true.
-- depends: 0001_default_privileges

CREATE FUNCTION public.update_updated_at() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.updated_at = CURRENT_TIMESTAMP;
    RETURN NEW;
END;
$$;

COMMENT ON FUNCTION public.update_updated_at() IS
'Trigger: sets updated_at to the time of the transaction on every update of a row.';
