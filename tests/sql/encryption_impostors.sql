-- Encryption runs as its caller, and calls no function or operator that the caller has put first.
\ir begin.psql
\ir tenants.psql
SELECT plan(4);

-- Such as fail when they are called, for all that it names and more
CREATE SCHEMA impostors;
GRANT USAGE ON SCHEMA impostors TO PUBLIC;
DO $$
DECLARE
    v_call record;
BEGIN
    FOR v_call IN
        SELECT
            p.proname AS name,
            pg_get_function_identity_arguments(p.oid) AS arguments,
            p.prorettype::regtype AS result
        FROM pg_proc AS p
        WHERE
            p.proname IN (
                'replace', 'encode', 'decode', 'substr', 'substring', 'convert_to', 'convert_from',
                'int8send', 'octet_length', 'length', 'string_to_array', 'split_part', 'sha256', 'right',
                'strpos', 'repeat', 'hmac', 'encrypt', 'decrypt_iv', 'gen_random_bytes'
            )
            AND p.prorettype IN ('text'::regtype, 'bytea'::regtype, 'integer'::regtype, 'text[]'::regtype)
    LOOP
        EXECUTE format(
            'CREATE FUNCTION impostors.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L',
            v_call.name, v_call.arguments, v_call.result,
            format('BEGIN RAISE EXCEPTION USING MESSAGE = %L; END', 'an impostor of ' || v_call.name)
        );
    END LOOP;
    FOR v_call IN
        SELECT
            o.oprname AS name,
            o.oprleft::regtype AS its_left,
            o.oprright::regtype AS its_right,
            o.oprresult::regtype AS result,
            row_number() OVER () AS n
        FROM pg_operator AS o
        WHERE
            o.oprnamespace = 'pg_catalog'::regnamespace
            AND o.oprname IN ('||', '=', '<>', '*', '/', '%', '-', '+', '>', '>=', '~', '!~', '->>')
            AND o.oprleft = ANY (ARRAY['text', 'bytea', 'integer', 'bigint', 'jsonb']::regtype [])
            AND o.oprright = ANY (ARRAY['text', 'bytea', 'integer', 'bigint', 'jsonb']::regtype [])
    LOOP
        EXECUTE format(
            'CREATE FUNCTION impostors.operator_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS %L',
            v_call.n, v_call.its_left, v_call.its_right, v_call.result,
            format('BEGIN RAISE EXCEPTION USING MESSAGE = %L; END', 'an impostor of ' || v_call.name)
        );
        EXECUTE format(
            'CREATE OPERATOR impostors.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = impostors.operator_%s)',
            v_call.name, v_call.its_left, v_call.its_right, v_call.n
        );
    END LOOP;
END;
$$;
CREATE FUNCTION tap.said_under_impostors(query text) RETURNS text LANGUAGE plpgsql
SET search_path = impostors, pg_catalog AS $$
BEGIN
    EXECUTE query;
    RETURN 'nothing';
EXCEPTION
    WHEN raise_exception THEN
        RETURN SQLERRM;
END;
$$;

SET LOCAL ROLE portal_app;
SET LOCAL app.current_user_id = 'a0000000-0000-0000-0000-000000000001';
SELECT is(
    tap.said_under_impostors(q.query), 'an impostor of ' || q.name,
    format('whoever calls %s without its schema calls an impostor', q.name)
)
FROM (VALUES ('replace', $$SELECT replace('a', 'b', 'c')$$), ('||', $$SELECT 'a'::text || 'b'$$)) AS q (name, query);
SET LOCAL search_path = impostors, pg_catalog;
SELECT
    public.encrypt_sensitive_data('x', 'kkkkkkkkkkkkkkkk') AS unbound,
    public.encrypt_sensitive_data('y', 'kkkkkkkkkkkkkkkk', 't.c.1.2') AS bound
\gset
SELECT
    public.decrypt_sensitive_data(:'unbound', 'kkkkkkkkkkkkkkkk') AS of_unbound,
    public.decrypt_sensitive_data(:'bound', 'kkkkkkkkkkkkkkkk', 't.c.1.2') AS of_bound,
    public.sensitive_data_well_formed(:'bound') AS well_formed
\gset
UPDATE public.user_server_configs SET encrypted_config = :'unbound';
SET LOCAL search_path = tap, public;
SELECT is(
    ARRAY[:'of_unbound', :'of_bound', :'well_formed'], ARRAY['x', 'y', 't'],
    'encryption works and calls none of them'
);
SELECT results_eq(
    'SELECT encrypted_config FROM public.user_server_configs', ARRAY[:'unbound'], 'and so does the trigger'
);

SELECT finish();
ROLLBACK;
