-- A role reads other roles' statements in pg_stat_statements: their text is hidden.
--
-- as: roles
-- each: pg_stat_statements
-- meant: none
-- unless: pg_monitor, pg_read_all_stats
-- live: yes

-- try: text of others
DO $do$
BEGIN
    IF EXISTS (
        SELECT FROM {relation}
        WHERE NOT pg_has_role(userid, 'USAGE') AND query <> '<insufficient privilege>'
    ) THEN
        PERFORM set_config('portaldb_verify.seen', 'statements of other roles', true);
    END IF;
EXCEPTION
    WHEN object_not_in_prerequisite_state THEN NULL; -- made, and not loaded: there are none
END
$do$

-- look
SELECT json_build_array(seen) FROM current_setting('portaldb_verify.seen', true) AS seen WHERE seen <> ''
