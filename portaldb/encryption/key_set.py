"""What may be done to a JWK Set: a key more, another primary, one retired. Pure: a document in, a document changed.

Members that are not ours stay as they are, of the set and of its keys.
"""

import json
import os
import time
from typing import Any

from portaldb.encryption import base64url
from portaldb.encryption.keyring import BYTES, Enc, Key, Keyring, State, thumbprint
from portaldb.errors import RefusedError, UsageError

Document = dict[str, Any]
"""A JWK Set as its JSON has it. It holds key material: never print one."""


def new_key(enc: Enc, state: State) -> Document:
    """Make a JWK of random bytes, named by its thumbprint."""
    while True:
        material = os.urandom(BYTES[enc])
        kid = thumbprint(material)
        # Such a name would be taken for an option where it is typed after a command.
        if not kid.startswith("-"):
            break
    return {
        "kty": "oct",
        "k": base64url.encode(material),
        "kid": kid,
        "use": "enc",
        "alg": "dir",
        "enc": str(enc),
        "iat": int(time.time()),
        "state": str(state),
    }


def find(keyring: Keyring, typed: str) -> Key:
    """Return the key of that kid, or whose kid alone begins so. Raises UsageError where there is not just one."""
    exact = [key for key in keyring.keys if key.kid == typed]
    found = exact or [key for key in keyring.keys if typed and key.kid.startswith(typed)]
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"{len(found)} kids begin with {typed}: {', '.join(key.kid for key in found)}. Type more of it."
        )
    # Without what was typed: it may be a key's material, pasted by mistake.
    raise UsageError("no key of the set is called so. `portaldb keys list` has the kids of all.")


def take_over(document: Document, others: Document) -> list[Key]:
    """Add the keys of another set, as known; return those that were not there yet.

    Raises RefusedError where a kid is there with other material, or the material under another kid.
    """
    there = keyring(document).keys
    new = []
    for key, entry in zip(keyring(others).keys, others["keys"], strict=True):
        same_name = [each for each in there if each.kid == key.kid]
        same_material = [each for each in there if each.material == key.material]
        if same_name and same_name == same_material:
            continue
        if same_name or same_material:
            other = f"another key is called {key.kid}" if same_name else f"{same_material[0].kid} is the same key"
            raise RefusedError(f"{key.kid} cannot be added: {other} in this set. Nothing was changed.")
        document["keys"].append(entry | {"kid": key.kid, "state": str(State.KNOWN)})
        new.append(key)
    return new


def promote(document: Document, typed: str) -> Key:
    """Make a known key the primary, and the primary known; return the new primary.

    Raises RefusedError for a retired key.
    """
    found = keyring(document)
    chosen = find(found, typed)
    if chosen.state is State.RETIRED:
        raise RefusedError(
            f"{chosen.kid} is retired: services do not open with it any more. Nothing was changed. "
            f"First make it known to all: portaldb keys retire --undo {chosen.kid}"
        )
    for key, entry in zip(found.keys, document["keys"], strict=True):
        if key.kid == chosen.kid:
            entry["state"] = str(State.PRIMARY)
        elif key.state is State.PRIMARY:
            entry["state"] = str(State.KNOWN)
    return chosen


def require_retirable(document: Document, typed: str) -> Key:
    """Return the known or retired key of that name. Raises RefusedError for the primary."""
    key = find(keyring(document), typed)
    if key.state is State.PRIMARY:
        raise RefusedError(
            f"{key.kid} is the primary key, the one that writes. Nothing was changed. "
            "First let another write: portaldb keys promote KID, then portaldb keys rotate"
        )
    return key


def restore(document: Document, typed: str) -> Key:
    """Make a retired key known again. Raises RefusedError where it is not retired."""
    key = find(keyring(document), typed)
    if key.state is not State.RETIRED:
        raise RefusedError(f"{key.kid} is not retired but {key.state}. Nothing was changed.")
    set_state(document, key.kid, State.KNOWN)
    return key


def set_state(document: Document, kid: str, state: State) -> None:
    """Give the key of just this kid another state."""
    for key, entry in zip(keyring(document).keys, document["keys"], strict=True):
        if key.kid == kid:
            entry["state"] = str(state)


def render(document: Document) -> str:
    """Return the text of a JWK Set."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def keyring(document: Document) -> Keyring:
    """Return the keys of a JWK Set. Raises KeyringError."""
    return Keyring.from_json(render(document))
