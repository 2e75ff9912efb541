-- What everyone may do, and learns sizes, names and definitions by, but no tenant's value: it is allowed.
--
-- Any role may LISTEN on any channel and hear what is sent there (notifies.sql shows that nothing of ours sends), hold
-- an advisory lock, and read what tables, views and policies are made of, and how large they are.
--
-- as: roles
-- meant: allowed
-- live: yes

-- try: LISTEN and NOTIFY
LISTEN portaldb_verify;
NOTIFY portaldb_verify, 'sent by anyone'

-- try: an advisory lock
SELECT pg_try_advisory_xact_lock_shared({number})

-- try: definitions
SELECT pg_get_expr(polqual, polrelid) FROM pg_catalog.pg_policy LIMIT 1

-- try: sizes
SELECT relid, n_live_tup, pg_relation_size(relid) FROM pg_catalog.pg_stat_user_tables LIMIT 1

-- try: locks
SELECT relation, transactionid FROM pg_catalog.pg_locks LIMIT 1
