-- No function but the server's own, and an extension's, is marked LEAKPROOF: one that is runs before policies do, and
-- sees every row.
--
-- as: server
-- meant: none
-- live: yes

-- try: LEAKPROOF functions
SELECT array_to_json(array_agg(p.oid::regprocedure))
FROM pg_catalog.pg_proc AS p
WHERE p.proleakproof AND p.pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
    AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_depend AS d
        WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    )
