-- A role reads the statements of other roles' sessions, in which values stand: it sees none.
--
-- The session of this trial is a superuser's, so that there is always one to hide.
--
-- as: roles
-- meant: none
-- unless: pg_monitor, pg_read_all_stats
-- live: yes

-- try: pg_stat_activity
SELECT CASE WHEN count(*) > 0 THEN json_build_array('statements of other roles') END
FROM pg_catalog.pg_stat_activity
WHERE NOT pg_has_role(usesysid, 'USAGE') AND query NOT IN ('', '<insufficient privilege>')

-- try: pg_stat_get_activity
SELECT CASE WHEN count(*) > 0 THEN json_build_array('statements of other roles') END
FROM pg_catalog.pg_stat_get_activity(NULL)
WHERE NOT pg_has_role(usesysid, 'USAGE') AND query NOT IN ('', '<insufficient privilege>')
