"""Base64url without padding (RFC 4648, section 5), as JOSE writes it, and JSON that names nothing twice."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any


def encode(raw: bytes) -> str:
    """Return bytes as base64url, without padding."""
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Return the bytes of canonical base64url; ValueError for any other text, so that one value has one text."""
    raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode(raw) != text:
        raise ValueError("not canonical base64url")
    return raw


def parse_object(text: str | bytes) -> dict[str, Any]:
    """Return a JSON object; ValueError for anything else, and where an object names a member twice.

    Of two members, readers differ in which they take: RFC 7515, section 4, lets a reader refuse both.
    """
    try:
        value = json.loads(text, object_pairs_hook=_members)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is named twice")
    return found
