-- The further forms of reading and writing that `portaldb verify` tries, and the keys that may tell of others' rows.

-- name: unique_keys
SELECT
    i.indrelid::int8 AS relation,
    x.relname::text AS name,
    i.indexprs IS NULL AND i.indpred IS NULL AS plain,
    i.indimmediate AS immediate,
    ARRAY(
        SELECT DISTINCT a.attname::text
        FROM pg_attribute AS a
        WHERE
            a.attrelid = i.indrelid
            AND (
                a.attnum = any((i.indkey::int2[])[0:i.indnkeyatts - 1])
                -- Of an index over an expression, whatever column it depends on.
                OR i.indexprs IS NOT NULL AND EXISTS (
                    SELECT FROM pg_depend AS d
                    WHERE
                        d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                        AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid
                        AND d.refobjsubid = a.attnum
                )
            )
    ) AS columns
FROM pg_index AS i
INNER JOIN pg_class AS x ON x.oid = i.indexrelid
WHERE i.indisunique AND i.indrelid = any(%(oids)s::oid[]) AND NOT x.relispartition
ORDER BY 1, 2

-- name: references
SELECT
    c.conname::text AS name,
    c.conrelid::int8 AS source,
    c.confrelid::int8 AS target,
    ARRAY(
        SELECT ARRAY[a.attname::text, b.attname::text]
        FROM unnest(c.conkey, c.confkey) AS pair (source, target)
        INNER JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = pair.source
        INNER JOIN pg_attribute AS b ON b.attrelid = c.confrelid AND b.attnum = pair.target
    ) AS columns
FROM pg_constraint AS c
WHERE c.contype = 'f' AND c.conparentid = 0 AND c.conrelid = any(%(oids)s::oid[])
ORDER BY 2, 1

-- name: lock_rows
SELECT array_to_json(array_agg(w.{key}::text))
FROM (SELECT t.{key} FROM {relation} AS t WHERE t.{key} = any({keys}) FOR {strength}) AS w

-- name: rows_by_place
SELECT array_to_json(array_agg(t.{key}::text))
FROM {relation} AS t WHERE t.ctid = any({places}::tid[]) AND t.{key} = any({keys})

-- name: copy_out
COPY {relation} ({key}) TO STDOUT

-- name: copy_rows_out
COPY (SELECT t.{key} FROM {relation} AS t WHERE t.{key} = any({keys})) TO STDOUT

-- name: copy_none_out
COPY (SELECT t.{key} FROM {relation} AS t WHERE false) TO STDOUT

-- name: copy_in
COPY {relation} ({columns}) FROM STDIN

-- name: update_returning
WITH w AS (
    UPDATE {relation} AS t SET {column} = {value} FROM (SELECT 1) AS s WHERE t.{key} = any({keys}) RETURNING t.{key}
)
SELECT array_to_json(array_agg(w.{key}::text)) FROM w

-- name: delete_returning
WITH w AS (DELETE FROM {relation} AS t USING (SELECT 1) AS s WHERE t.{key} = any({keys}) RETURNING t.{key})
SELECT array_to_json(array_agg(w.{key}::text)) FROM w

-- name: insert_returning
INSERT INTO {relation} ({columns}) VALUES ({values}) RETURNING {key}

-- name: update_current
DO $do$
DECLARE
    c CURSOR FOR SELECT t.{key} FROM {relation} AS t WHERE t.{key} = any({keys});
BEGIN
    FOR r IN c LOOP
        UPDATE {relation} SET {column} = {value} WHERE CURRENT OF c;
    END LOOP;
END
$do$

-- name: give_away
UPDATE {relation} SET {assignments}

-- name: give_away_live
UPDATE {relation} SET {assignments} WHERE {key} = any({keys})

-- name: update_one
UPDATE {relation} SET {assignments} WHERE {key} = {own}

-- name: insert_or_update
INSERT INTO {relation} ({columns}) VALUES ({values}) ON CONFLICT ({keys}) DO UPDATE SET {column} = {value}

-- name: merge_update
MERGE INTO {relation} AS t USING (SELECT 1) AS s ON t.{key} = any({keys})
WHEN MATCHED THEN UPDATE SET {column} = {value}

-- name: merge_delete
MERGE INTO {relation} AS t USING (SELECT 1) AS s ON t.{key} = any({keys}) WHEN MATCHED THEN DELETE

-- name: unless_refused
    BEGIN
        {statement};
    EXCEPTION WHEN insufficient_privilege THEN NULL;
    END;

-- name: one_by_one
DO $do$
BEGIN
{blocks}
END
$do$

-- name: merge_update_all
MERGE INTO {relation} AS t USING (SELECT 1) AS s ON true WHEN MATCHED THEN UPDATE SET {column} = {value}

-- name: merge_delete_all
MERGE INTO {relation} AS t USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE

-- name: merge_insert
MERGE INTO {relation} AS t USING (SELECT 1) AS s ON false
WHEN NOT MATCHED THEN INSERT ({columns}) VALUES ({values})

-- name: nextval
SELECT nextval({sequence})

-- name: setval
SELECT setval({sequence}, 1)

-- name: delete_one
DELETE FROM {relation} WHERE {key} = {own}
