"""The keys: a JWK Set (RFC 7517) of `oct` keys, each known, primary or retired.

A key is known to every reader before the first writer uses it; one of them is primary, and writes; a retired one
neither opens nor writes, and is kept for the day when an old backup is restored.
"""

import os
import re
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

from portaldb.encryption import base64url
from portaldb.errors import RefusedError

KID = re.compile(r"[A-Za-z0-9._~-]{1,128}")


class KeyringError(RefusedError):
    """The keys cannot be used as they are; the message says which and why, and never holds key material."""


class State(StrEnum):
    """What a key may do."""

    KNOWN = "known"
    """Opens what it made."""
    PRIMARY = "primary"
    """Opens, and is the one that writes."""
    RETIRED = "retired"
    """Neither opens nor writes."""


class Enc(StrEnum):
    """How content is encrypted (RFC 7518, section 5.1); a key's length says which of them it is for."""

    CBC = "A256CBC-HS512"
    GCM = "A256GCM"


BYTES = {Enc.CBC: 64, Enc.GCM: 32}


class _Uncopied:
    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied: that is how keys get into caches and queues."""
        raise TypeError("a key is not pickled or copied: each process loads the keys itself")


class _Material(_Uncopied, bytes):
    """What `dataclasses.asdict` and `astuple` do not get either, for they copy it."""


@dataclass(frozen=True)
class Key(_Uncopied):
    """One key. Its material is in no repr, and leaves the object only for encryption and for the key file."""

    kid: str
    state: State
    enc: Enc
    material: bytes = field(repr=False)
    made_at: int | None = None
    """Seconds since 1970; None where the set does not tell."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "material", _Material(self.material))


@dataclass(frozen=True)
class Keyring:
    """All keys of a JWK Set. Raises KeyringError where two have the same kid, or two are primary."""

    keys: tuple[Key, ...]

    def __post_init__(self) -> None:
        kids = [key.kid for key in self.keys]
        if twice := next((kid for kid in kids if kids.count(kid) > 1), None):
            raise KeyringError(f"Two keys of the JWK Set have the kid {twice}. {_REMEDY}")
        if sum(key.state is State.PRIMARY for key in self.keys) > 1:
            raise KeyringError("Two keys of the JWK Set are primary, and one alone may write. Leave 'primary' to one.")

    @staticmethod
    def load(path: str | os.PathLike[str] | None = None) -> "Keyring":
        """Read the keys from this file, else from where the environment says: see `portaldb.encryption.sources`.

        Raises KeyringError where there are none, where others may read the file, or where they are not a JWK Set.
        """
        from portaldb.encryption import sources

        return Keyring.from_json(sources.read(Path(path) if path is not None else None))

    @staticmethod
    def from_json(text: str) -> "Keyring":
        """Read a JWK Set. Raises KeyringError for one that is malformed, or of which two keys are primary."""
        try:
            found = base64url.parse_object(text)
        except ValueError:
            raise KeyringError(
                f"The keys are not a JWK Set: the text is not a JSON object that names each member once. {_REMEDY}"
            ) from None
        entries = found.get("keys")
        if not isinstance(entries, list) or not entries:
            raise KeyringError(f"The keys are not a JWK Set: it has no list 'keys' with a key in it. {_REMEDY}")
        return Keyring(tuple(_key(entry, number) for number, entry in enumerate(entries, 1)))

    @property
    def primary(self) -> Key:
        """The key that writes. Raises KeyringError where none is primary."""
        for key in self.keys:
            if key.state is State.PRIMARY:
                return key
        raise KeyringError(
            "No key of the JWK Set is primary, so nothing can be encrypted. Next: portaldb keys promote KID"
        )

    def opener(self, kid: str) -> Key | None:
        """Return the key of that name if it may open values, else None."""
        for key in self.keys:
            if key.kid == kid and key.state is not State.RETIRED:
                return key
        return None


_REMEDY = "A good one: portaldb keys generate"


def thumbprint(material: bytes) -> str:
    """Return the name of a key by RFC 7638, section 3.1: a SHA-256 of its JWK's required members."""
    text = f'{{"k":"{base64url.encode(material)}","kty":"oct"}}'
    return base64url.encode(sha256(text.encode()).digest())


def _key(entry: Any, number: int) -> Key:  # noqa: ANN401 - whatever stands in the JSON
    def wrong(what: str) -> KeyringError:
        return KeyringError(f"Key {number} of the JWK Set cannot be used: {what}. {_REMEDY}")

    if not isinstance(entry, dict) or entry.get("kty") != "oct":
        raise wrong("its 'kty' is not 'oct'")
    # RFC 7517, sections 4.2 and 4.4: what a key is for. One that signs elsewhere does not encrypt here.
    if entry.get("use", "enc") != "enc":
        raise wrong("its 'use' is not 'enc'")
    if entry.get("alg", "dir") != "dir":
        raise wrong("its 'alg' is not 'dir'")
    k = entry.get("k")
    try:
        material = base64url.decode(k) if isinstance(k, str) else b""
    except ValueError:
        raise wrong("its 'k' is not base64url without padding") from None
    enc = next((each for each, size in BYTES.items() if size == len(material)), None)
    if enc is None:
        raise wrong("its 'k' is neither 64 bytes (A256CBC-HS512) nor 32 (A256GCM)")
    if entry.get("enc", enc) != enc:
        raise wrong(f"its 'enc' is not {enc}, which its length is for")
    kid = entry.get("kid", thumbprint(material))
    if not isinstance(kid, str) or not KID.fullmatch(kid):
        raise wrong("its 'kid' is not 1 to 128 letters, digits and . _ ~ -")
    state = entry.get("state", State.KNOWN)
    if state not in list(State):
        raise wrong(f"its 'state' is none of {', '.join(State)}")
    made_at = entry.get("iat")
    return Key(kid, State(state), enc, material, made_at if type(made_at) is int else None)
