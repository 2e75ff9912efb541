-- A role reads, changes, removes or exports another's large object: it is refused.
--
-- Large objects know roles and no tenants: what one service's role makes, all who act as that role share. Nothing of
-- ours is in one. `lo_compat_privileges` would open them all.
--
-- as: roles
-- meant: refused
-- unless: pg_read_all_data
-- live: yes

-- before
SELECT lo_from_bytea({number}, 'another''s');

-- try: lo_get
SELECT lo_get({number})

-- try: lo_put
SELECT lo_put({number}, 0, 'mine')

-- try: lo_open to read
SELECT loread(lo_open({number}, 262144), 10)

-- try: lo_unlink
SELECT lo_unlink({number})

-- try: pg_largeobject
SELECT data FROM pg_catalog.pg_largeobject WHERE loid = {number}
