-- A role reads values of tables, or secrets of logins, straight from the server's catalog: it is refused.
--
-- as: roles
-- meant: refused
-- unless: pg_read_all_data
-- live: yes

-- try: pg_statistic
SELECT stavalues1 FROM pg_catalog.pg_statistic WHERE false

-- try: pg_statistic_ext_data
SELECT stxdmcv FROM pg_catalog.pg_statistic_ext_data WHERE false

-- try: pg_authid
SELECT rolpassword FROM pg_catalog.pg_authid WHERE false

-- try: pg_user_mapping
SELECT umoptions FROM pg_catalog.pg_user_mapping WHERE false

-- try: pg_subscription
SELECT subconninfo FROM pg_catalog.pg_subscription WHERE false
