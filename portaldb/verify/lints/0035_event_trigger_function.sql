-- An event trigger runs a function that somebody other than a superuser can change.
-- level: error
-- fix: ALTER FUNCTION … OWNER TO a superuser.

SELECT
    'event trigger ' || e.evtname AS object,
    'its function belongs to ' || r.rolname AS detail
FROM pg_event_trigger AS e
INNER JOIN pg_proc AS p ON p.oid = e.evtfoid
INNER JOIN pg_roles AS r ON r.oid = p.proowner
WHERE NOT r.rolsuper
