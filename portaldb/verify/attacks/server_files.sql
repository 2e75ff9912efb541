-- A role reads or writes files of the server's machine, or runs a program there: each way is refused.
--
-- as: roles
-- meant: refused
-- live: yes

-- try: COPY TO PROGRAM
COPY (SELECT 1) TO PROGRAM 'true'

-- try: COPY TO a file
COPY (SELECT 1) TO '/dev/null'

-- try: pg_read_file
SELECT pg_read_file('PG_VERSION')

-- try: pg_read_binary_file
SELECT pg_read_binary_file('PG_VERSION')

-- try: pg_stat_file
SELECT pg_stat_file('PG_VERSION')

-- try: pg_ls_dir
SELECT pg_ls_dir('.')

-- try: lo_import
SELECT lo_import('/dev/null')

-- try: lo_export
SELECT lo_export(0, '/dev/null')
