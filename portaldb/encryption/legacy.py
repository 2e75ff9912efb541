"""The old format: what the schema document's `encrypt_sensitive_data` made. It is opened here, and never written.

`encode(encrypt(data::bytea, key::bytea, 'aes'), 'base64')` is AES-CBC with an IV of zeros and a key padded with
zeros to 16, 24 or 32 bytes, or cut to 32. Nothing authenticates it, so that a wrong key cannot be told from the
right one in every case: one value in 256 has a padding by chance, and of one block, one in two million is text too.
"""

import re
from base64 import b64decode
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from portaldb.encryption.keyring import KeyringError

_BLOCK = 16
_SIZES = (16, 24, 32)
_SPACE = re.compile(r"[ \t\r\n]")
_ESCAPE = re.compile(rb"\\(\\|[0-3][0-7][0-7])?")


def read_key(path: Path) -> bytes:
    """Read the old key, one line, from a file that is as private as a key file; return what AES takes of it.

    Raises KeyringError where others may read it, or where PostgreSQL could not read the text as a bytea.
    """
    from portaldb.encryption import sources

    text = sources.read(path)
    try:
        return aes_key(text.removesuffix("\n").removesuffix("\r"))
    except ValueError:
        raise KeyringError(
            f"The old key in {path} is not what PostgreSQL takes for bytea: it starts with \\x and is not hexadecimal, "
            "or has a backslash that starts no \\\\ or three octal digits."
        ) from None


def aes_key(text: str) -> bytes:
    """Return the AES key that pgcrypto makes of `text::bytea`. Raises ValueError where that cast fails."""
    key = _bytea(text)
    size = next((each for each in _SIZES if len(key) <= each), _SIZES[-1])
    return key[:size].ljust(size, b"\0")


def _bytea(text: str) -> bytes:
    """Read a text as PostgreSQL's cast to bytea does: \\x and hexadecimal, else with \\\\ and \\ooo in it."""
    if text.startswith("\\x"):
        digits = re.sub(r"[ \t\r\n]", "", text[2:])
        if not re.fullmatch(r"(?:[0-9A-Fa-f]{2})*", digits):
            raise ValueError("not hexadecimal")
        return bytes.fromhex(digits)

    def unescaped(match: re.Match[bytes]) -> bytes:
        if match[1] is None:
            raise ValueError("a backslash that starts nothing")
        return b"\\" if match[1] == b"\\" else bytes([int(match[1], 8)])

    return _ESCAPE.sub(unescaped, text.encode())


def looks_old(value: str) -> bool:
    """Say whether a value may be of the old format: base64 of whole blocks, and nothing else."""
    try:
        raw = _raw(value)
    except ValueError:
        return False
    return bool(raw) and len(raw) % _BLOCK == 0


def decrypt(value: str, key: bytes) -> str:
    """Open a value of the old format. Raises ValueError for a wrong padding or what is no UTF-8 text."""
    raw = _raw(value)
    decryptor = Cipher(AES(key), CBC(bytes(_BLOCK))).decryptor()
    padded = decryptor.update(raw) + decryptor.finalize()
    fill = padded[-1] if padded else 0
    if not 1 <= fill <= _BLOCK or padded[-fill:] != bytes([fill]) * fill:
        raise ValueError("a wrong padding")
    text = padded[:-fill].decode()
    if "\0" in text:
        raise ValueError("no text of PostgreSQL")
    return text


def _raw(value: str) -> bytes:
    return b64decode(_SPACE.sub("", value), validate=True)
