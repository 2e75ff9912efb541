-- What the older functions of services raise, and each in use: docs/api.md is made from it.
-- depends: 0003_current_app_user_id 0023_base64url 0033_app_reach 0035_app_team_ids_by_reach
-- depends: 0038_sensitive_data_header 0039_encrypt_sensitive_data 0040_decrypt_sensitive_data
--
-- In the examples $1 is the key, which goes beside a statement and never into it.

COMMENT ON FUNCTION public.current_app_user_id() IS
'The user named by app.current_user_id; NULL when it is unset or empty, an error when it is no UUID.
Errors: 22P02 app.current_user_id is no UUID.
Example: SELECT current_app_user_id();';
COMMENT ON FUNCTION public.app_narrowed_to() IS
'Ids of the members of the active teams that an active team_admin, the user of the context, is an admin of; NULL '
'while a team_admin reaches everyone.
Example: SELECT app_narrowed_to();';
COMMENT ON FUNCTION public.app_team_ids() IS
'Ids of the teams of the active user of the context; an empty array for anyone else.
Example: SELECT app_team_ids();';
COMMENT ON FUNCTION public.base64url_encode(bytea) IS
'Bytes as base64url without padding or line breaks.
Example: SELECT base64url_encode(''\xfbff'');';
COMMENT ON FUNCTION public.base64url_decode(text) IS
'The bytes of canonical base64url without padding; NULL for any other text.
Example: SELECT base64url_decode(''-_8'');';
COMMENT ON FUNCTION public.base64url_length(text) IS
'Bytes that canonical base64url without padding stands for; NULL for any other text.
Example: SELECT base64url_length(''-_8'');';
COMMENT ON FUNCTION public.a256cbc_hs512_tag(bytea, bytea, bytea, bytea) IS
'Authentication tag of A256CBC-HS512 (RFC 7518, section 5.2.2.1).
Example: SELECT a256cbc_hs512_tag(''\x00'', decode(repeat(''01'', 16), ''hex''), decode(repeat(''02'', 16), '
'''hex''), $1);';
COMMENT ON FUNCTION public.sensitive_data_context(text, text, uuid, uuid) IS
'What a value of this column, user and server is bound to: TABLE.COLUMN.USER_ID.SERVER_ID.
Example: SELECT sensitive_data_context(''user_server_configs'', ''encrypted_config'', user_id, server_id) FROM '
'user_server_configs;';
COMMENT ON FUNCTION public.sensitive_data_header(text) IS
'Key id, algorithm and context (''none'' for an unbound value) of a well-formed value; all NULL for any other text.
Example: SELECT h.kid, h.enc, h.context FROM user_server_configs AS c, sensitive_data_header(c.encrypted_config) AS '
'h;';
COMMENT ON FUNCTION public.sensitive_data_kid(text) IS
'The id of the key that made a well-formed value; NULL for any other text. Needs no key and proves nothing.
Example: SELECT sensitive_data_kid(encrypted_config) FROM user_server_configs;';
COMMENT ON FUNCTION public.sensitive_data_well_formed(text) IS
'Whether a text has the form of an encrypted value with a key id; false for NULL. Only the key tells whether it '
'opens.
Example: SELECT sensitive_data_well_formed(encrypted_config) FROM user_server_configs;';
COMMENT ON FUNCTION public.sensitive_data_derived_key(text) IS
'The 64 bytes that a key text stands for, as sensitive_data_key(), and NULL where that refuses it.
Example: SELECT sensitive_data_derived_key($1);';
COMMENT ON FUNCTION public.sensitive_data_key(text) IS
'The 64 bytes a key text stands for: base64url of 64 bytes as it is, any other text of 16 bytes or more through '
'HKDF-SHA-512 (no salt, info ''mcp_portal A256CBC-HS512''); less is refused with 22023.
Errors: 22023 the key has fewer than 16 bytes.
Example: SELECT sensitive_data_key($1);';
COMMENT ON FUNCTION public.sensitive_data_thumbprint(text) IS
'The key id that a key has unless it is given another: its thumbprint (RFC 7638).
Errors: 22023 the key has fewer than 16 bytes.
Example: SELECT sensitive_data_thumbprint($1);';
COMMENT ON FUNCTION public.sensitive_data_protected(text, text) IS
'The protected header of an encrypted value, base64url; 22023 for a malformed key id or context.
Errors: 22023 key id or context is missing or malformed.
Example: SELECT sensitive_data_protected(''2026-11'', ''none'');';
COMMENT ON FUNCTION public.sensitive_data_sealed(text, bytea, bytea) IS
'Header, IV and ciphertext with their tag, as a compact JWE.
Example: SELECT sensitive_data_sealed(sensitive_data_protected(''2026-11'', ''none''), decode(repeat(''01'', 32), '
'''hex''), $1);';
COMMENT ON FUNCTION public.sensitive_data_opened(text, bytea, text, text) IS
'What a value holds that is bound to this context, ''none'' for none, and made by the key of this id, NULL for any.
Errors: 22000 key, value or context is not the right one.
Example: SELECT sensitive_data_opened(encrypted_config, sensitive_data_key($1), ''none'', NULL) FROM '
'user_server_configs;';
COMMENT ON FUNCTION public.encrypt_sensitive_data(text, text) IS
'Encrypts data as a compact JWE, dir with A256CBC-HS512, bound to no row; NULL for NULL, 22023 for a key under 16 '
'bytes.
Errors: 22023 the key has fewer than 16 bytes.
Example: SELECT encrypt_sensitive_data(''not a real one'', $1);';
COMMENT ON FUNCTION public.encrypt_sensitive_data(text, text, text) IS
'Encrypts data bound to a context, which sensitive_data_context() makes; without that context it does not open.
Errors: 22023 the key has fewer than 16 bytes, or the context is malformed.
Example: SELECT encrypt_sensitive_data(''not a real one'', $1, sensitive_data_context(''user_server_configs'', '
'''encrypted_config'', user_id, server_id)) FROM user_server_configs;';
COMMENT ON FUNCTION public.encrypt_sensitive_data(text, text, text, text) IS
'Encrypts data bound to a context, and names the key by the id that it has in the key set.
Errors: 22023 the key has fewer than 16 bytes, or key id or context is malformed.
Example: SELECT encrypt_sensitive_data(''not a real one'', $1, sensitive_data_context(''user_server_configs'', '
'''encrypted_config'', user_id, server_id), ''2026-11'') FROM user_server_configs;';
COMMENT ON FUNCTION public.decrypt_sensitive_data(text, text) IS
'Decrypts what encrypt_sensitive_data made; one error, 22000, for whatever may be wrong with key or value.
Errors: 22000 key, value or context is not the right one.
Example: SELECT decrypt_sensitive_data(encrypted_config, $1) FROM user_server_configs;';
COMMENT ON FUNCTION public.decrypt_sensitive_data(text, text, text) IS
'Decrypts a value that is bound to exactly this context; one error, 22000, for whatever may be wrong.
Errors: 22000 key, value or context is not the right one.
Example: SELECT decrypt_sensitive_data(encrypted_config, $1, sensitive_data_context(''user_server_configs'', '
'''encrypted_config'', user_id, server_id)) FROM user_server_configs;';
COMMENT ON FUNCTION public.decrypt_sensitive_data(text, text, text, text) IS
'Decrypts a value that is bound to this context and names this key id; one error, 22000, for whatever may be wrong.
Errors: 22000 key, value or context is not the right one.
Example: SELECT decrypt_sensitive_data(encrypted_config, $1, sensitive_data_context(''user_server_configs'', '
'''encrypted_config'', user_id, server_id), sensitive_data_kid(encrypted_config)) FROM user_server_configs;';
