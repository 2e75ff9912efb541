-- No role of ours uses a foreign server, an untrusted language or dblink: each is another's session, or the machine's.
--
-- as: server
-- meant: none
-- live: yes

-- try: foreign servers, languages, dblink
SELECT array_to_json(array_agg(concat(found.name, ' by ', r.rolname)))
FROM pg_catalog.pg_roles AS r
INNER JOIN (
    SELECT s.oid, concat('server ', s.srvname) AS name, 's' AS kind FROM pg_catalog.pg_foreign_server AS s
    UNION ALL
    SELECT w.oid, concat('foreign-data wrapper ', w.fdwname), 'w' FROM pg_catalog.pg_foreign_data_wrapper AS w
    UNION ALL
    SELECT l.oid, concat('language ', l.lanname), 'l' FROM pg_catalog.pg_language AS l
    WHERE l.lanispl AND NOT l.lanpltrusted
    UNION ALL
    SELECT p.oid, p.oid::regprocedure::text, 'p' FROM pg_catalog.pg_proc AS p WHERE p.proname LIKE 'dblink%'
) AS found ON CASE found.kind
    WHEN 's' THEN has_server_privilege(r.oid, found.oid, 'USAGE')
    WHEN 'w' THEN has_foreign_data_wrapper_privilege(r.oid, found.oid, 'USAGE')
    WHEN 'l' THEN has_language_privilege(r.oid, found.oid, 'USAGE')
    ELSE has_function_privilege(r.oid, found.oid, 'EXECUTE')
END
WHERE r.rolname = any({roles}::name[])
