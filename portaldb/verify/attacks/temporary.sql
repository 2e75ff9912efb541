-- A role other than the owner makes temporary objects, which shadow types and tables: it is refused.
--
-- as: others
-- meant: refused
-- live: yes

-- try: a table
CREATE TEMPORARY TABLE users (id integer)

-- try: a view
CREATE TEMPORARY VIEW users AS SELECT 1 AS id

-- try: a sequence
CREATE TEMPORARY SEQUENCE users
