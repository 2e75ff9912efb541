-- No function outside the server's own is marked LEAKPROOF: one that is runs before policies and sees every row.
--
-- as: server
-- meant: none
-- live: yes

-- try: LEAKPROOF functions
SELECT array_to_json(array_agg(p.oid::regprocedure))
FROM pg_catalog.pg_proc AS p
WHERE p.proleakproof AND p.pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
