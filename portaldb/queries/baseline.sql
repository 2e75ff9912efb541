-- What a database built by hand holds that the migrations would refuse.

-- name: unencrypted
SELECT count(*) AS rows
FROM public.user_server_configs AS c
WHERE c.encrypted_config !~ '^[A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+$'
