-- The database that a manifest is made on.

-- name: locale
SELECT d.datcollate AS locale FROM pg_database AS d WHERE d.datname = current_database()

-- name: drop
DROP DATABASE IF EXISTS {database} WITH (FORCE)
