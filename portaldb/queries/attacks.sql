-- The login that `portaldb verify` makes for sessions of its own, on a throwaway database.

-- name: soon
SELECT (now() + interval '2 minutes')::text AS soon

-- name: make_login
CREATE ROLE {login} LOGIN PASSWORD {password} VALID UNTIL {soon}

-- name: let_in
GRANT CONNECT ON DATABASE {database} TO {login}

-- name: member
GRANT {role} TO {login}

-- name: no_member
REVOKE {role} FROM {login}

-- name: drop_login
DROP OWNED BY {login};
DROP ROLE {login}
