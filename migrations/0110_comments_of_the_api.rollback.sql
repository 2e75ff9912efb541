-- Puts back what the comments said.

COMMENT ON FUNCTION public.current_app_user_id() IS
'The user named by app.current_user_id; NULL when it is unset or empty, an error when it is no UUID.';
COMMENT ON FUNCTION public.app_narrowed_to() IS
'Ids of the members of the active teams that an active team_admin, the user of the context, is an admin of; NULL '
'while a team_admin reaches everyone.';
COMMENT ON FUNCTION public.app_team_ids() IS
'Ids of the teams of the active user of the context; an empty array for anyone else.';
COMMENT ON FUNCTION public.base64url_encode(bytea) IS
'Bytes as base64url without padding or line breaks.';
COMMENT ON FUNCTION public.base64url_decode(text) IS
'The bytes of canonical base64url without padding; NULL for any other text.';
COMMENT ON FUNCTION public.base64url_length(text) IS
'Bytes that canonical base64url without padding stands for; NULL for any other text.';
COMMENT ON FUNCTION public.a256cbc_hs512_tag(bytea, bytea, bytea, bytea) IS
'Authentication tag of A256CBC-HS512 (RFC 7518, section 5.2.2.1).';
COMMENT ON FUNCTION public.sensitive_data_context(text, text, uuid, uuid) IS
'What a value of this column, user and server is bound to: TABLE.COLUMN.USER_ID.SERVER_ID.';
COMMENT ON FUNCTION public.sensitive_data_header(text) IS
'Key id, algorithm and context (''none'' for an unbound value) of a well-formed value; all NULL for any other text.';
COMMENT ON FUNCTION public.sensitive_data_kid(text) IS
'The id of the key that made a well-formed value; NULL for any other text. Needs no key and proves nothing.';
COMMENT ON FUNCTION public.sensitive_data_well_formed(text) IS
'Whether a text has the form of an encrypted value with a key id; false for NULL. Only the key tells whether it '
'opens.';
COMMENT ON FUNCTION public.sensitive_data_derived_key(text) IS
'The 64 bytes that a key text stands for, as sensitive_data_key(), and NULL where that refuses it.';
COMMENT ON FUNCTION public.sensitive_data_key(text) IS
'The 64 bytes a key text stands for: base64url of 64 bytes as it is, any other text of 16 bytes or more through '
'HKDF-SHA-512 (no salt, info ''mcp_portal A256CBC-HS512''); less is refused with 22023.';
COMMENT ON FUNCTION public.sensitive_data_thumbprint(text) IS
'The key id that a key has unless it is given another: its thumbprint (RFC 7638).';
COMMENT ON FUNCTION public.sensitive_data_protected(text, text) IS
'The protected header of an encrypted value, base64url; 22023 for a malformed key id or context.';
COMMENT ON FUNCTION public.sensitive_data_sealed(text, bytea, bytea) IS
'Header, IV and ciphertext with their tag, as a compact JWE.';
COMMENT ON FUNCTION public.sensitive_data_opened(text, bytea, text, text) IS
'What a value holds that is bound to this context, ''none'' for none, and made by the key of this id, NULL for any.';
COMMENT ON FUNCTION public.encrypt_sensitive_data(text, text) IS
'Encrypts data as a compact JWE, dir with A256CBC-HS512, bound to no row; NULL for NULL, 22023 for a key under 16 '
'bytes.';
COMMENT ON FUNCTION public.encrypt_sensitive_data(text, text, text) IS
'Encrypts data bound to a context, which sensitive_data_context() makes; without that context it does not open.';
COMMENT ON FUNCTION public.encrypt_sensitive_data(text, text, text, text) IS
'Encrypts data bound to a context, and names the key by the id that it has in the key set.';
COMMENT ON FUNCTION public.decrypt_sensitive_data(text, text) IS
'Decrypts what encrypt_sensitive_data made; one error, 22000, for whatever may be wrong with key or value.';
COMMENT ON FUNCTION public.decrypt_sensitive_data(text, text, text) IS
'Decrypts a value that is bound to exactly this context; one error, 22000, for whatever may be wrong.';
COMMENT ON FUNCTION public.decrypt_sensitive_data(text, text, text, text) IS
'Decrypts a value that is bound to this context and names this key id; one error, 22000, for whatever may be wrong.';
