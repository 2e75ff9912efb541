-- A role reads other tenants' changes from the log, by a slot of logical replication: it is refused.
--
-- The slots named here do not exist; the right is asked for first.
--
-- as: roles
-- meant: refused
-- live: yes

-- try: drop a slot
SELECT pg_drop_replication_slot('portaldb_verify')

-- try: read a slot
SELECT pg_logical_slot_peek_changes('portaldb_verify', NULL, 1)
