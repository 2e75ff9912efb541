-- A table with row security is UNLOGGED, so a crash empties it and no standby or backup of the log has it.
-- level: warning
-- fix: ALTER TABLE … SET LOGGED.

SELECT
    t.name AS object,
    'unlogged' AS detail
FROM tables AS t
WHERE t.secured AND t.persistence = 'u'
