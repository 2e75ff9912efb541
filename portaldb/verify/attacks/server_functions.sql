-- No role of ours executes a function of the server that is not everyone's.
--
-- as: server
-- meant: none
-- live: yes

-- try: functions of the server
SELECT array_to_json(array_agg(concat(p.oid::regprocedure, ' by ', r.rolname)))
FROM pg_catalog.pg_proc AS p
INNER JOIN pg_catalog.pg_roles AS r ON r.rolname = any({roles}::name[])
WHERE
    p.pronamespace = 'pg_catalog'::regnamespace
    AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
    AND NOT has_function_privilege('public', p.oid, 'EXECUTE')
