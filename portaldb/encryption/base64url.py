"""Base64url without padding (RFC 4648, section 5), as JOSE writes it, and JSON that names nothing twice."""

from binascii import a2b_base64, b2a_base64
from json import JSONDecoder
from typing import Any, NoReturn

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/???")
"""What is base64 and not base64url becomes what is neither."""
_LAST = {1: "AEIMQUYcgkosw048", 2: "AQgw", 3: ""}
"""The characters that may stand last, by what is missing to a multiple of four: their unused low bits are zero."""


def encode(raw: bytes) -> str:
    """Return bytes as base64url, without padding."""
    return b2a_base64(raw, newline=False).translate(_TO_URL, b"=").decode()


def decode(text: str) -> bytes:
    """Return the bytes of canonical base64url; ValueError for any other text, so that one value has one text."""
    fill = -len(text) % 4
    if not text.isascii() or (fill and text[-1] not in _LAST[fill]):
        raise ValueError("not canonical base64url")
    return a2b_base64(text.encode().translate(_FROM_URL) + b"=" * fill, strict_mode=True)


def parse_object(text: str) -> dict[str, Any]:
    """Return a JSON object (RFC 8259); ValueError for anything else, and where an object names a member twice.

    Of two members, readers differ in which they take: RFC 7515, section 4, lets a reader refuse both. The error
    quotes nothing of the text, nor does one that stands behind it: the text may be key material.
    """
    try:
        value = _JSON.decode(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object that names each member once")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _refuse(_constant: str) -> NoReturn:
    """NaN and Infinity, which Python reads, are no JSON."""
    raise ValueError


_JSON = JSONDecoder(object_pairs_hook=_members, parse_constant=_refuse)
