"""The envelope: a compact JWE (RFC 7516), `dir` with A256CBC-HS512 or A256GCM (RFC 7518, sections 5.2.5 and 5.3).

The protected header binds a value to the place it is for, in `cty`. functions/0039 and 0040 write and read the same.
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
from portaldb.encryption.keyring import KID, Enc, Key, Keyring, State
from portaldb.errors import PortalError

_UNBOUND = "none"
_TOKEN = re.compile(r"[A-Za-z0-9_.-]{1,200}")
_BOUND = re.compile(rf"text/plain;ctx=({_TOKEN.pattern})")
_SIZES = {Enc.CBC: (16, 32), Enc.GCM: (12, 16)}
"""Bytes of the IV and of the tag."""
_HEADER = 4096
"""Letters of a header at most: what is longer is there to be in the way."""


class DecryptError(PortalError):
    """A value cannot be decrypted. Why is never told, and nothing that stands behind it tells."""

    def __str__(self) -> str:
        return "the value cannot be decrypted"


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

    Raises ValueError for a context that is not 1 to 200 letters, digits and _ . -, or is the word 'none', and for a
    text that PostgreSQL cannot hold (a NUL, half a surrogate pair); KeyringError where no key is primary.
    """
    _require_context(context)
    plaintext = _utf8(text)
    key = keyring.primary
    header = _write_header(key, context)
    iv = os.urandom(_SIZES[key.enc][0])
    seal = seal_cbc if key.enc is Enc.CBC else seal_gcm
    ciphertext, tag = seal(key.material, iv, plaintext, header.encode())
    # With dir there is no encrypted key: its place between the dots is empty.
    return f"{header}..{base64url.encode(iv)}.{base64url.encode(ciphertext)}.{base64url.encode(tag)}"


def decrypt(value: str, keyring: Keyring, *, context: str | None, allow_unbound: bool = False) -> str:
    """Decrypt a value that is bound to just this context; None opens unbound values alone.

    `allow_unbound` opens those too where a context is given: what SQL's two-argument function made. Raises
    DecryptError for whatever else is wrong with value, key or context.
    """
    try:
        text = _open(value, keyring, context, allow_unbound)
    except (ValueError, InvalidTag):
        text = None
    # Not in the handler: an error that is raised there keeps the first one, and a codec's holds the plaintext.
    if text is None:
        raise DecryptError
    return text


def inspect(value: str) -> Header:
    """Read the header of a well-formed value, without a key. Raises DecryptError for any other text."""
    try:
        text, iv, ciphertext, tag = _split(value)
        header = _read_header(text)
        fits = _fits(header.enc, iv, ciphertext, tag)
    except ValueError:
        fits = False
    if not fits:
        raise DecryptError
    return header


def _require_context(context: str | None) -> None:
    if context is not None and (context == _UNBOUND or not _TOKEN.fullmatch(context)):
        raise ValueError("a context is 1 to 200 letters, digits and _ . -, and not 'none'")


def _utf8(text: str) -> bytes:
    try:
        raw = None if "\0" in text else text.encode()
    except UnicodeEncodeError:
        raw = None
    if raw is None:
        raise ValueError("the text has a NUL or half a surrogate pair in it, which PostgreSQL's text cannot hold")
    return raw


def _open(value: str, keyring: Keyring, context: str | None, allow_unbound: bool) -> str | None:
    _require_context(context)
    header, iv, ciphertext, tag = _split(value)
    key = _opener(header, keyring, context, allow_unbound)
    if key is None or not _fits(key.enc, iv, ciphertext, tag):
        return None
    open_ = open_cbc if key.enc is Enc.CBC else open_gcm
    text = open_(key.material, iv, ciphertext, tag, header.encode()).decode()
    return None if "\0" in text else text


def _opener(text: str, keyring: Keyring, context: str | None, allow_unbound: bool) -> Key | None:
    """Return the key for a value with this header, if its key and its context are what is asked for."""
    # Nearly every value has the very header that is written now: known as a text, it needs no parser.
    for key in keyring.keys:
        if key.state is State.PRIMARY and text == _write_header(key, context):
            return key
    header = _read_header(text)
    if header.context != context and not (allow_unbound and header.context is None):
        return None
    found = keyring.opener(header.kid)
    return found if found is not None and found.enc is header.enc else None


def _split(value: str) -> tuple[str, bytes, bytes, bytes]:
    """Return the header's text, IV, ciphertext and tag. Raises ValueError."""
    header, encrypted_key, iv, ciphertext, tag = value.split(".")
    if encrypted_key:
        raise ValueError
    return header, base64url.decode(iv), base64url.decode(ciphertext), base64url.decode(tag)


def _fits(enc: Enc, iv: bytes, ciphertext: bytes, tag: bytes) -> bool:
    whole_blocks = enc is Enc.GCM or (len(ciphertext) > 0 and len(ciphertext) % 16 == 0)
    return (len(iv), len(tag)) == _SIZES[enc] and whole_blocks


def _write_header(key: Key, context: str | None) -> str:
    said = f'{{"alg":"dir","enc":"{key.enc}","kid":"{key.kid}","cty":"text/plain;ctx={context or _UNBOUND}"}}'
    return base64url.encode(said.encode())


def _read_header(text: str) -> Header:
    if len(text) > _HEADER:
        raise ValueError
    said = base64url.parse_object(base64url.decode(text).decode())
    # What is no text, or none to PostgreSQL, readers take in different ways: a number too long, a list too deep.
    if not all(isinstance(value, str) for value in said.values()):
        raise ValueError
    _utf8("".join((*said, *said.values())))
    enc, kid, cty = Enc(str(said.get("enc"))), said.get("kid"), said.get("cty", "")
    if said.get("alg") != "dir" or "crit" in said or "zip" in said:
        raise ValueError
    if kid is None or not KID.fullmatch(kid):
        raise ValueError
    if "ctx" not in cty:
        return Header(enc, kid, None)
    bound = _BOUND.fullmatch(cty)
    if bound is None:
        raise ValueError
    return Header(enc, kid, None if bound[1] == _UNBOUND else bound[1])


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
