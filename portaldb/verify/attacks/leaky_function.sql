-- A role's own function, and an operator over it, that note what they are given see the actor's rows and no other.
--
-- They are as cheap as can be, so that the planner puts them first where no policy or barrier keeps them back.
--
-- as: actors
-- each: relation
-- meant: own
-- live: no

-- before
SET LOCAL ROLE {role};
CREATE FUNCTION portaldb_verify.spy(anyelement, text DEFAULT '') RETURNS boolean
LANGUAGE plpgsql COST 0.0000001 AS $spy$
BEGIN
    PERFORM set_config(
        'portaldb_verify.seen', concat_ws(' ', current_setting('portaldb_verify.seen', true), $1), true
    );
    RETURN true;
END
$spy$;
CREATE OPERATOR portaldb_verify.<<< (LEFTARG = anyelement, RIGHTARG = text, FUNCTION = portaldb_verify.spy);
CREATE VIEW portaldb_verify.mine AS SELECT {key} FROM {relation};
RESET ROLE;

-- try: in WHERE, ORDER BY, JOIN and a view
SELECT count(*) FROM {relation} WHERE portaldb_verify.spy({key});
SELECT count(*) FROM {relation} WHERE {key} OPERATOR(portaldb_verify.<<<) '';
SELECT {key} FROM {relation} ORDER BY portaldb_verify.spy({key}) LIMIT 1;
SELECT count(*) FROM (SELECT 1) AS s INNER JOIN {relation} AS t ON portaldb_verify.spy(t.{key});
SELECT count(*) FROM portaldb_verify.mine WHERE portaldb_verify.spy({key})

-- look
SELECT array_to_json(array_agg(k))
FROM unnest({keys}::text[]) AS k
WHERE k = any(string_to_array(current_setting('portaldb_verify.seen', true), ' '))
