-- No function of ours sends notifications, which every role may hear, but for those that [notifies] names.
--
-- as: server
-- meant: none
-- live: yes

-- try: functions that NOTIFY
SELECT array_to_json(array_agg(p.oid::regprocedure))
FROM pg_catalog.pg_proc AS p
WHERE
    p.oid = any({functions}::oid[]) AND NOT p.oid = any({notifying}::oid[])
    AND coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) ~* '\m(pg_notify|notify)\M'
