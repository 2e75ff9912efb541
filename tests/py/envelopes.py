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


def spoiled(sealer: Sealer) -> dict[str, str | bytes]:
    """Return headers that differ in one thing from a good one, by what is wrong with them."""
    good = sealer.header
    other = next(str(enc) for enc in Enc if enc is not sealer.enc)
    long = f"text/plain;ctx={'x' * 201}"
    changed: dict[str, dict[str, object]] = {
        **{f"alg {alg}": {"alg": alg} for alg in ("none", "None", "", "DIR", "A256KW", "A256GCMKW", None, 1, ["dir"])},
        **{f"enc {name}": {"enc": name} for name in (other, "none", "A128GCM", "a256gcm", None, {"a": 1})},
        **{f"kid {kid}": {"kid": kid} for kid in ("", "x" * 129, "another", "a b", "a\n", "é", None, 7, ["a"])},
        **{f"crit {crit}": {"crit": crit} for crit in ([], ["exp"], None)},
        **{f"zip {form}": {"zip": form} for form in ("DEF", "", None)},
        **{
            f"cty {cty}": {"cty": cty}
            for cty in (
                "text/plain;ctx=", "text/plain; ctx=none", "text/plain;ctx=none;x", "text/plain;ctx=a/b", "ctx=none",
                "text/plain;ctx=none\n", "text/plain;ctx=x;ctx=none", "TEXT/plain;ctx=none", "xctx",
                long, "text/plain;ctx=Ä", None, 1, ["text/plain;ctx=none"], {"ctx": "none"},
            )
        },
    }  # fmt: skip
    headers: dict[str, str | bytes] = {what: json.dumps(good | change) for what, change in changed.items()}
    headers |= {
        f"no {name}": json.dumps({n: v for n, v in good.items() if n != name}) for name in ("alg", "enc", "kid")
    }
    text = json.dumps(good)
    for name, value in good.items():
        headers[f"{name} twice"] = f'{text[:-1]},"{name}":{json.dumps(value)}}}'
        headers[f"{name} twice, once escaped"] = (
            f'{text[:-1]},"\\u00{ord(name[0]):02x}{name[1:]}":{json.dumps(value)}}}'
        )
    headers |= {
        "another member twice": text[:-1] + ',"x":"1","x":"1"}',
        **{
            f"a member {member}": f'{text[:-1]},"x":{member}}}'
            for member in ("1", "1e400", "null", "true", "[]", '{"a":1,"a":2}')
        },
        "half a surrogate pair": text[:-1] + r',"x":"\ud800"}',
        "half a surrogate pair as a name": text[:-1] + r',"\udc00":"x"}',
        "a NUL": text[:-1] + r',"x":"\u0000"}',
        "too long": f'{text[:-1]},"x":"{"x" * 3072}"}}',
        "a BOM": b"\xef\xbb\xbf" + text.encode(),
        "UTF-16": text.encode("utf-16"),
        "not UTF-8": text.encode()[:-1] + b',"x":"\xff"}',
        "an overlong NUL": text.encode()[:-1] + b',"x":"\xc0\x80"}',
        "NaN": text[:-1] + ',"x":NaN}',
        "Infinity": text[:-1] + ',"x":-Infinity}',
        "a comma too many": text[:-1] + ",}",
        "a comment": text + "//",
        "single quotes": text.replace('"', "'"),
        "two objects": text + text,
        "a list": f"[{text}]",
        "a string": json.dumps(text),
        "null": "null",
        "nothing": "",
        "nested too deeply": text[:-1] + ',"x":' + "[" * 100_000 + "]" * 100_000 + "}",
    }
    return headers


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


CHARACTERS = (range(1, 0x80), range(1, 0x100), range(1, 0xD800), range(0xE000, 0x110000))
"""What PostgreSQL's text can hold: all of Unicode without the NUL and the surrogates."""


def random_text(chance: random.Random, largest: int) -> str:
    """Return a text of any length to the largest, mostly short, of one to three kinds of characters."""
    length = int(largest ** chance.random()) - 1
    kinds = chance.choices(CHARACTERS, k=chance.randint(1, 3))
    return "".join(map(chr, (code for kind in kinds for code in chance.choices(kind, k=length // len(kinds) + 1))))
