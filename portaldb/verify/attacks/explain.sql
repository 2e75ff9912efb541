-- A plan, and what came of running it, quotes no value of rows that the actor cannot see.
--
-- Sizes remain: a plan estimates, and counts, rows of every tenant.
--
-- as: actors
-- each: relation
-- meant: at most own
-- live: no

-- try: EXPLAIN (ANALYZE, VERBOSE)
DO $do$
DECLARE
    v_plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, VERBOSE, FORMAT json) SELECT {key} FROM {relation} WHERE {key} IS NOT NULL' INTO v_plan;
    PERFORM set_config('portaldb_verify.seen', v_plan::text, true);
END
$do$

-- look
SELECT array_to_json(array_agg(k))
FROM unnest({keys}::text[]) AS k
WHERE position(k IN current_setting('portaldb_verify.seen', true)) > 0
