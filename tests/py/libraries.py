"""Three JOSE libraries that others wrote, under one form: two of Python, and Node's `jose` as a process."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

MISSING = "needs Node.js with its packages jose and pg (apt-get install nodejs node-jose node-pg), and lacks one here"

SCRIPT = Path(__file__).parents[1] / "js/jose.cjs"
ALGORITHMS = ["dir", "A256CBC-HS512", "A256GCM"]


@dataclass(frozen=True)
class Library:
    """Reads and writes many values under one key, a JWK's `k`; what it cannot open is an error of its own."""

    name: str
    seal: Callable[[str, dict[str, str], list[str]], list[str]]
    """Of key, header and texts makes the values."""
    open: Callable[[str, list[str]], list[tuple[dict[str, str], str]]]
    """Of key and values makes their headers and texts."""
    opens_empty: bool = True
    """Whether it can open a value of no text."""


def _joserfc_seal(k: str, header: dict[str, str], texts: list[str]) -> list[str]:
    from joserfc import jwe
    from joserfc.jwk import OctKey

    key = OctKey.import_key({"kty": "oct", "k": k})
    return [jwe.encrypt_compact(dict(header), text.encode(), key, ALGORITHMS) for text in texts]


def _joserfc_open(k: str, values: list[str]) -> list[tuple[dict[str, str], str]]:
    from joserfc import jwe
    from joserfc.jwk import OctKey

    key = OctKey.import_key({"kty": "oct", "k": k})
    found = [jwe.decrypt_compact(value, key, ALGORITHMS) for value in values]
    return [(each.protected, (each.plaintext or b"").decode()) for each in found]


def _jwcrypto_seal(k: str, header: dict[str, str], texts: list[str]) -> list[str]:
    from jwcrypto import jwe
    from jwcrypto.jwk import JWK

    key = JWK(kty="oct", k=k)

    def seal(text: str) -> str:
        made = jwe.JWE(text.encode(), json.dumps(header))
        made.add_recipient(key)
        return str(made.serialize(compact=True))

    return [seal(text) for text in texts]


def _jwcrypto_open(k: str, values: list[str]) -> list[tuple[dict[str, str], str]]:
    from jwcrypto import jwe
    from jwcrypto.jwk import JWK

    key = JWK(kty="oct", k=k)

    def open_(value: str) -> tuple[dict[str, str], str]:
        found = jwe.JWE()
        found.deserialize(value, key=key)
        return found.jose_header, found.payload.decode()

    return [open_(value) for value in values]


def _node_seal(k: str, header: dict[str, str], texts: list[str]) -> list[str]:
    return [answer["value"] for answer in _node({"key": k, "header": header, "text": text} for text in texts)]


def _node_open(k: str, values: list[str]) -> list[tuple[dict[str, str], str]]:
    return [(answer["header"], answer["text"]) for answer in _node({"key": k, "value": value} for value in values)]


def _node(requests: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    _require_node()
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    done = _run_node(str(SCRIPT), said=lines)
    answers: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.split("\n") if line]
    errors = [answer["error"] for answer in answers if "error" in answer]
    if done.returncode or errors or len(answers) != lines.count("\n"):
        pytest.fail(f"Node's jose: {len(errors)} errors, {errors[:1]} {done.stderr}", pytrace=False)
    return answers


def _run_node(*words: str, said: str = "") -> subprocess.CompletedProcess[str]:
    # Where Debian keeps its packages of Node: another Node than Debian's does not look there.
    environment = os.environ | {"NODE_PATH": os.environ.get("NODE_PATH", "/usr/share/nodejs")}
    return subprocess.run(
        ["node", *words], input=said, env=environment, capture_output=True, encoding="utf-8", check=False, timeout=120
    )


@cache
def _node_answers(script: str) -> bool:
    return shutil.which("node") is not None and _run_node("-e", script).returncode == 0


def _require_node(script: str = "require('jose').compactDecrypt.call") -> None:
    """Leave a test out where Node or a package is missing, and say so; where CI runs, that is a failure."""
    if not _node_answers(script):
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING, pytrace=False)
        pytest.skip(MISSING)


LIBRARIES = [
    Library("joserfc", _joserfc_seal, _joserfc_open),
    # 1.6 says that no key matched where the plaintext is empty: it takes no bytes for no success.
    Library("jwcrypto", _jwcrypto_seal, _jwcrypto_open, opens_empty=False),
    Library("node-jose", _node_seal, _node_open),
]
