-- In a session of its own, a login that is a member of a role takes on no other and becomes nobody else.
--
-- Only a real session shows it: one that a superuser opened may always go back to being one. So a login is made on the
-- server for the moment, and dropped.
--
-- as: logins
-- meant: refused
-- live: no

-- try: SET SESSION AUTHORIZATION
SET SESSION AUTHORIZATION {another}

-- try: SET ROLE
SET ROLE {another}

-- try: RESET ROLE, then SET ROLE
SET ROLE {role};
RESET ROLE;
RESET SESSION AUTHORIZATION;
SET ROLE NONE;
SET ROLE {another}

-- try: the superuser
SET ROLE {superuser}
