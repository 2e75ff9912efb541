-- A role fills a table of its own from a file or a program of the server's machine: it is refused.
--
-- as: roles
-- meant: refused
-- live: no

-- before
CREATE TABLE portaldb_verify.taken (line text);
GRANT ALL ON portaldb_verify.taken TO {role};

-- try: COPY FROM PROGRAM
COPY portaldb_verify.taken FROM PROGRAM 'true'

-- try: COPY FROM a file
COPY portaldb_verify.taken FROM '/dev/null'
