-- A role reads values of others' rows in pg_stats, where ANALYZE put them: the view hides tables under row security.
--
-- as: roles
-- each: table
-- meant: at most own
-- live: no

-- before
ANALYZE {relation};

-- try: pg_stats
DO $do$
BEGIN
    PERFORM set_config('portaldb_verify.seen', concat(
        (
            SELECT string_agg(concat(most_common_vals, histogram_bounds), ' ')
            FROM pg_catalog.pg_stats
            WHERE (schemaname, tablename) = ({schema_name}, {table_name})
        ),
        (
            SELECT string_agg(most_common_vals::text, ' ')
            FROM pg_catalog.pg_stats_ext
            WHERE (schemaname, tablename) = ({schema_name}, {table_name})
        )
    ), true);
END
$do$

-- look
SELECT array_to_json(array_agg(k))
FROM unnest({keys}::text[]) AS k
WHERE position(k IN current_setting('portaldb_verify.seen', true)) > 0
