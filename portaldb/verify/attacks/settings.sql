-- A role switches off what triggers, foreign keys and rights of large objects hold, or what is logged: it is refused.
--
-- as: roles
-- meant: refused
-- live: yes

-- try: session_replication_role
SET session_replication_role = 'replica'

-- try: lo_compat_privileges
SET lo_compat_privileges = on

-- try: log_statement
SET log_statement = 'none'

-- try: session_preload_libraries
SET session_preload_libraries = 'auto_explain'

-- try: LOAD
LOAD 'auto_explain'
