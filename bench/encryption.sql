-- What `python -m bench.encryption` measures with.

-- name: values
-- Values of a size, random so that nothing compresses: as they are, and encrypted in every way. pgp's are few, slow to
-- make as they are.
CREATE UNLOGGED TABLE {table} (n integer, user_id uuid, server_id uuid, text text, raw bytea, unbound text, bound text, pgp bytea);
ALTER TABLE {table} ALTER COLUMN text SET STORAGE EXTERNAL;
INSERT INTO {table}
SELECT
    v.n, v.user_id, v.server_id, v.text,
    public.encrypt(convert_to(v.text, 'UTF8'), %(raw_key)s, 'aes'),
    public.encrypt_sensitive_data(v.text, %(key)s),
    public.encrypt_sensitive_data(
        v.text, %(key)s,
        public.sensitive_data_context('user_server_configs', 'encrypted_config', v.user_id, v.server_id)
    ),
    CASE WHEN v.n <= %(slow)s THEN public.pgp_sym_encrypt(v.text, %(key)s) END
FROM (
    SELECT
        n, md5('user ' || n)::uuid AS user_id, md5('server ' || n)::uuid AS server_id,
        (
            SELECT left(string_agg(md5(n || ' ' || m), ''), %(size)s::int)
            FROM generate_series(1, %(size)s::int / 32 + 1) AS m
        ) AS text
    FROM generate_series(1, %(count)s::int) AS n
    OFFSET 0
) AS v;
VACUUM ANALYZE {table}

-- name: together
SELECT count(length(v.made)) FROM (SELECT {expression} AS made FROM {table} AS v WHERE v.n <= %(count)s OFFSET 0) AS v

-- name: first
SELECT {columns} FROM {table} AS v WHERE v.n = 1

-- name: configs
-- Ten configurations a user, each with a text of a size, under the key that both sets have.
INSERT INTO public.users (id, azure_oid, email)
SELECT md5('user ' || n)::uuid, 'oid ' || n, 'user' || n || '@example.org' FROM generate_series(1, %(rows)s::int / 10) AS n;
INSERT INTO public.mcp_servers (id, name, image, catalog_type)
SELECT md5('server ' || n)::uuid, 'server ' || n, 'x', 'predefined' FROM generate_series(1, 10) AS n;
INSERT INTO public.user_server_configs (id, user_id, server_id, encrypted_config)
SELECT
    md5('config ' || c.n)::uuid, c.user_id, c.server_id,
    public.encrypt_sensitive_data(
        left(repeat(md5(c.n::text), %(size)s::int / 32 + 1), %(size)s::int), %(key)s,
        public.sensitive_data_context('user_server_configs', 'encrypted_config', c.user_id, c.server_id), %(kid)s
    )
FROM (
    SELECT
        (u - 1) * 10 + s AS n, md5('user ' || u)::uuid AS user_id, md5('server ' || s)::uuid AS server_id
    FROM generate_series(1, %(rows)s::int / 10) AS u, generate_series(1, 10) AS s
) AS c;
VACUUM (ANALYZE) public.user_server_configs;
CHECKPOINT

-- name: kid
SELECT count(public.sensitive_data_kid(c.encrypted_config)) FROM public.user_server_configs AS c

-- name: monitor
SELECT sum(m.count) FROM public.monitor_encryption_keys AS m

-- name: readers
\set n random(1, :rows)
SELECT c.encrypted_config FROM public.user_server_configs AS c WHERE c.id = md5('config ' || :n)::uuid;

-- name: writers
\set n random(1, :rows)
UPDATE public.user_server_configs AS c SET enabled = NOT c.enabled WHERE c.id = md5('config ' || :n)::uuid;
