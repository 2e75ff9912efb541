"""What the tests of encrypted values share: keys, keyrings, values made by hand, and what an error holds."""

import json
import os
import random
import secrets
from dataclasses import dataclass
from typing import Any

import pytest

from portaldb.encryption import DecryptError, Keyring, base64url, config_context, decrypt, envelope
from portaldb.encryption.keyring import BYTES, Enc

CONTEXT = config_context("0b6a2a3e-8c1d-4f5e-9a7b-1c2d3e4f5a6b", "7c8d9e0f-1a2b-4c3d-8e4f-5a6b7c8d9e0f")
WHERES = (None, CONTEXT)
"""An unbound value's, and one that is bound."""


def jwk(enc: Enc = Enc.CBC, **members: object) -> dict[str, Any]:
    """Make a key of random bytes as a JWK Set has it."""
    return {"kty": "oct", "k": base64url.encode(secrets.token_bytes(BYTES[enc])), "state": "primary", **members}


def ring_of(*keys: dict[str, Any]) -> Keyring:
    """Make a keyring of JWKs."""
    return Keyring.from_json(json.dumps({"keys": keys}))


@dataclass(frozen=True)
class Sealer:
    """Makes values that only a test would write, under the real key."""

    ring: Keyring

    @property
    def enc(self) -> Enc:
        """How it encrypts."""
        return self.ring.primary.enc

    @property
    def header(self) -> dict[str, Any]:
        """A good header, to be spoiled."""
        return {"alg": "dir", "enc": str(self.enc), "kid": self.ring.primary.kid, "cty": "text/plain;ctx=none"}

    def seal(self, header: dict[str, Any] | str | bytes, plaintext: bytes = b"a secret") -> str:
        """Encrypt under whatever header, as the real key does."""
        if isinstance(header, dict):
            header = json.dumps(header)
        raw = header.encode() if isinstance(header, str) else header
        return self.seal_text(base64url.encode(raw), plaintext)

    def seal_text(self, header: str, plaintext: bytes = b"a secret") -> str:
        """Encrypt under a header that is given as it stands in the value."""
        seal, size = (envelope.seal_cbc, 16) if self.enc is Enc.CBC else (envelope.seal_gcm, 12)
        iv = os.urandom(size)
        ciphertext, tag = seal(self.ring.primary.material, iv, plaintext, header.encode())
        return f"{header}..{base64url.encode(iv)}.{base64url.encode(ciphertext)}.{base64url.encode(tag)}"


def refused(value: str, ring: Keyring, context: str | None, allow_unbound: bool = False) -> None:
    """Hold a value to be refused, with the one error, which keeps nothing behind it."""
    try:
        decrypt(value, ring, context=context, allow_unbound=allow_unbound)
    except DecryptError as error:
        said, behind = str(error), (error.__context__, error.__cause__, error.args)
    else:
        pytest.fail(f"it opened: {value!r}")
    assert said == "the value cannot be decrypted"
    assert behind == (None, None, ())


def held_by(error: BaseException | None) -> str:
    """Return all that an error and those behind it say and hold: messages, arguments, attributes."""
    said = ""
    while error is not None:
        attributes = {name: getattr(error, name, None) for name in dir(error) if not name.startswith("__")}
        said += f"{error}\n{error!r}\n{error.args!r}\n{vars(error)!r}\n{attributes!r}\n"
        error = error.__cause__ or error.__context__
    return said


def chance_of(seed: int) -> random.Random:
    """Return what draws the lots of a test."""
    return random.Random(seed)  # noqa: S311 - drawn again with --seed


def random_text(chance: random.Random, largest: int) -> str:
    """Return a text that PostgreSQL can hold: few or many characters, of ASCII or of all of Unicode."""
    length = int(largest ** chance.random()) - 1 if chance.random() < 0.9 else chance.randrange(largest)
    ranges = chance.choice([[(1, 0x7F)], [(1, 0xFF)], [(1, 0xD7FF)], [(1, 0xD7FF), (0xE000, 0x10FFFF)]])
    return "".join(chr(chance.randint(*chance.choice(ranges))) for _ in range(length))
