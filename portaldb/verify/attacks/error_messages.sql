-- An error that quotes a value, or comes only where there is a row, tells of the actor's rows at most.
--
-- as: actors
-- each: relation
-- meant: at most own
-- live: no

-- try: a cast that fails, a division by zero
DO $do$
BEGIN
    BEGIN
        PERFORM FROM {relation} WHERE {key} = any({keys}) AND ({key}::text || '?')::integer = 0;
    EXCEPTION
        WHEN invalid_text_representation THEN PERFORM set_config('portaldb_verify.seen', sqlerrm, true);
    END;
    BEGIN
        PERFORM FROM {relation} WHERE {key} = any({others}) AND 1 / (0 * pg_column_size({key})) = 0;
    EXCEPTION
        WHEN division_by_zero THEN PERFORM set_config('portaldb_verify.seen', {others}, true);
    END;
END
$do$

-- look
SELECT array_to_json(array_agg(k))
FROM unnest({keys}::text[]) AS k
WHERE position(k IN current_setting('portaldb_verify.seen', true)) > 0
