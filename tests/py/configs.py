"""What the tests of the keys share: key files, rows with encrypted values, and a search for what must not be told."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
from conftest import Completed, Portaldb

from portaldb.encryption import Keyring, config_context, encrypt, key_file, key_set
from portaldb.encryption.keyring import Enc, State

CANARY = "canary-plaintext-"
"""How every text begins that these tests encrypt."""


def make_keys(path: Path, *states: State, enc: Enc = Enc.CBC) -> list[str]:
    """Write a key file with a key of each state; return their kids."""
    entries = [key_set.new_key(enc, state) for state in states or (State.PRIMARY,)]
    key_file.create(path, {"keys": entries})
    return [str(entry["kid"]) for entry in entries]


def states(path: Path) -> dict[str, str]:
    """Return the state of each kid of a key file."""
    return {key.kid: str(key.state) for key in Keyring.load(path).keys}


def material(path: Path) -> list[str]:
    """Return what no output may hold: the keys of a file, as it writes them and in hexadecimal."""
    keys = Keyring.load(path).keys
    return [entry["k"] for entry in json.loads(path.read_text())["keys"]] + [key.material.hex() for key in keys]


def tells_nothing(done: Completed, secrets: Iterable[str]) -> Completed:
    """Fail where a command's output holds a secret, or a text that was encrypted; return it."""
    told = done.stdout + done.stderr
    for secret in (*secrets, CANARY):
        assert secret not in told
        assert secret[:20] not in told
    return done


def keys(portaldb: Portaldb, path: Path, *args: str, **options: Any) -> Completed:  # noqa: ANN401 - of Portaldb
    """Run `portaldb keys …` on a key file; its output holds no key of it and no text."""
    done = portaldb("keys", args[0], "--keys", str(path), *args[1:], **options)
    return tells_nothing(done, material(path))


def fill(url: str, values: Iterable[tuple[str | None, str]] | int, ring: Keyring | None = None) -> list[UUID]:
    """Make rows of user_server_configs, each of a user of its own; return their ids.

    Values are given as they are, with 'bound' or None; or a number of texts, bound to their rows under the primary.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        server = uuid4()
        connection.execute(
            "INSERT INTO public.mcp_servers (id, name, image, catalog_type) VALUES (%s, %s, 'x:1', 'predefined')",
            [server, str(server)],
        )
        texts: Iterable[tuple[str | None, str]]
        texts = [("bound", f"{CANARY}{n}") for n in range(values)] if isinstance(values, int) else values
        rows = []
        for bound, text in texts:
            user = uuid4()
            context = config_context(user, server) if bound else None
            rows.append((uuid4(), user, server, encrypt(text, ring, context=context) if ring else text))
        cursor = connection.cursor()
        cursor.executemany(
            "INSERT INTO public.users (id, azure_oid, email) VALUES (%s, %s, %s)",
            [(user, str(user), f"{user}@example.org") for _, user, _, _ in rows],
        )
        cursor.executemany(
            "INSERT INTO public.user_server_configs (id, user_id, server_id, encrypted_config) VALUES (%s, %s, %s, %s)",
            rows,
        )
    return [row[0] for row in rows]
