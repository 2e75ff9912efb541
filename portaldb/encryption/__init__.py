"""Encrypted values and their keys, for services, the runner and the command; no database is needed.

A value is a compact JWE (RFC 7516), which SQL's `decrypt_sensitive_data` and every JOSE library read too::

    keyring = Keyring.load()
    where = config_context(user_id, server_id)
    value = encrypt('{"token": "…"}', keyring, context=where)
    text = decrypt(value, keyring, context=where)
"""

from portaldb.encryption.envelope import DecryptError, Header, config_context, decrypt, encrypt, inspect
from portaldb.encryption.keyring import Enc, Key, Keyring, KeyringError, State

__all__ = [
    "DecryptError",
    "Enc",
    "Header",
    "Key",
    "Keyring",
    "KeyringError",
    "State",
    "config_context",
    "decrypt",
    "encrypt",
    "inspect",
]
