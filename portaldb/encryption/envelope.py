"""The envelope: a compact JWE (RFC 7516), `dir` with A256CBC-HS512 or A256GCM (RFC 7518, sections 5.2.5 and 5.3).

The protected header binds a value to the place it is for, in `cty`; functions/0037 writes and reads the same in SQL.
What is wrong with a value is never told: whoever may send one and see the answer would learn from it.
"""

import hmac
import os
import re
from dataclasses import dataclass
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from portaldb.encryption import base64url
from portaldb.encryption.keyring import KID, Enc, Keyring
from portaldb.errors import PortalError

_UNBOUND = "none"
_TOKEN = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_BOUND = re.compile(rf"text/plain;ctx=({_TOKEN.pattern})")
_SIZES = {Enc.CBC: (16, 32), Enc.GCM: (12, 16)}
"""Bytes of the IV and of the tag."""


class DecryptError(PortalError):
    """A value cannot be decrypted; the message is always this one."""

    def __init__(self) -> None:
        super().__init__("the value cannot be decrypted")


@dataclass(frozen=True)
class Header:
    """What a value says of itself. Without its key this is a claim, not a proof."""

    enc: Enc
    kid: str
    context: str | None
    """What it is bound to; None for an unbound value."""


def config_context(user_id: UUID | str, server_id: UUID | str) -> str:
    """Return what `user_server_configs.encrypted_config` of a user and a server is bound to.

    Not to the row's id, which an upsert changes. Raises ValueError for what is no UUID.
    """
    user, server = UUID(str(user_id)), UUID(str(server_id))
    return f"user_server_configs.encrypted_config.{user}.{server}"


def encrypt(text: str, keyring: Keyring, *, context: str | None) -> str:
    """Encrypt a text with the primary key, bound to a context; None makes an unbound value.

    Raises ValueError for a context that is not 1 to 200 letters, digits and _ . -, or is the word 'none', and
    KeyringError where no key is primary.
    """
    if context is not None and (context == _UNBOUND or not _TOKEN.fullmatch(context)):
        raise ValueError("a context is 1 to 200 letters, digits and _ . -, and not 'none'")
    key = keyring.primary
    header = base64url.encode(
        f'{{"alg":"dir","enc":"{key.enc}","kid":"{key.kid}","cty":"text/plain;ctx={context or _UNBOUND}"}}'.encode()
    )
    iv = os.urandom(_SIZES[key.enc][0])
    seal = seal_cbc if key.enc is Enc.CBC else seal_gcm
    ciphertext, tag = seal(key.material, iv, text.encode(), header.encode())
    # With dir there is no encrypted key: its place between the dots is empty.
    return f"{header}..{base64url.encode(iv)}.{base64url.encode(ciphertext)}.{base64url.encode(tag)}"


def decrypt(value: str, keyring: Keyring, *, context: str | None, allow_unbound: bool = False) -> str:
    """Decrypt a value that is bound to just this context; None opens unbound values alone.

    `allow_unbound` opens those too where a context is given: what SQL's two-argument function made. Raises
    DecryptError for whatever else is wrong with value, key or context.
    """
    try:
        header, iv, ciphertext, tag = _parse(value)
        key = keyring.opener(header.kid)
        bound = header.context == context or (allow_unbound and header.context is None)
        if key is None or key.enc is not header.enc or not bound:
            raise DecryptError
        open_ = open_cbc if key.enc is Enc.CBC else open_gcm
        return open_(key.material, iv, ciphertext, tag, value.partition(".")[0].encode()).decode()
    except (ValueError, InvalidTag):
        raise DecryptError from None


def inspect(value: str) -> Header:
    """Read the header of a well-formed value, without a key. Raises DecryptError for any other text."""
    try:
        return _parse(value)[0]
    except ValueError:
        raise DecryptError from None


def _parse(value: str) -> tuple[Header, bytes, bytes, bytes]:
    header_text, encrypted_key, *rest = value.split(".")
    iv, ciphertext, tag = (base64url.decode(part) for part in rest)
    header = _header(header_text)
    blocks = header.enc is Enc.GCM or (ciphertext and len(ciphertext) % 16 == 0)
    if encrypted_key or (len(iv), len(tag)) != _SIZES[header.enc] or not blocks:
        raise ValueError
    return header, iv, ciphertext, tag


def _header(text: str) -> Header:
    said = base64url.parse_object(base64url.decode(text).decode())
    enc, kid = Enc(said["enc"]) if "enc" in said else None, said.get("kid")
    if said.get("alg") != "dir" or enc is None or not isinstance(kid, str) or not KID.fullmatch(kid):
        raise ValueError
    if "crit" in said or "zip" in said:
        raise ValueError
    cty = said.get("cty", "")
    if not isinstance(cty, str):
        raise ValueError
    if "ctx" not in cty:
        return Header(enc, kid, None)
    match = _BOUND.fullmatch(cty)
    if match is None:
        raise ValueError
    return Header(enc, kid, None if match[1] == _UNBOUND else match[1])


def seal_cbc(key: bytes, iv: bytes, plaintext: bytes, aad: bytes) -> tuple[bytes, bytes]:
    """Encrypt and then authenticate (RFC 7518, section 5.2.2.1); return ciphertext and tag."""
    fill = 16 - len(plaintext) % 16
    encryptor = Cipher(AES(key[32:]), CBC(iv)).encryptor()
    ciphertext = encryptor.update(plaintext + bytes([fill]) * fill) + encryptor.finalize()
    return ciphertext, _tag(key, iv, ciphertext, aad)


def open_cbc(key: bytes, iv: bytes, ciphertext: bytes, tag: bytes, aad: bytes) -> bytes:
    """Verify and then decrypt (RFC 7518, section 5.2.2.2). Raises InvalidTag."""
    if not hmac.compare_digest(tag, _tag(key, iv, ciphertext, aad)):
        raise InvalidTag
    decryptor = Cipher(AES(key[32:]), CBC(iv)).decryptor()
    padded = decryptor.update(ciphertext) + decryptor.finalize()
    fill = padded[-1]
    if not 1 <= fill <= 16 or padded[-fill:] != bytes([fill]) * fill:  # noqa: PLR2004 - a block's bytes
        raise InvalidTag
    return padded[:-fill]


def seal_gcm(key: bytes, iv: bytes, plaintext: bytes, aad: bytes) -> tuple[bytes, bytes]:
    """Encrypt with A256GCM (RFC 7518, section 5.3); return ciphertext and tag."""
    sealed = AESGCM(key).encrypt(iv, plaintext, aad)
    return sealed[:-16], sealed[-16:]


def open_gcm(key: bytes, iv: bytes, ciphertext: bytes, tag: bytes, aad: bytes) -> bytes:
    """Verify and decrypt with A256GCM. Raises InvalidTag."""
    return AESGCM(key).decrypt(iv, ciphertext + tag, aad)


def _tag(key: bytes, iv: bytes, ciphertext: bytes, aad: bytes) -> bytes:
    length = (len(aad) * 8).to_bytes(8, "big")
    return hmac.digest(key[:32], aad + iv + ciphertext + length, "sha512")[:32]
