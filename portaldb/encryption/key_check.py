"""What a set of keys is like, by itself and beside the values of a database."""

import os
import shlex
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from portaldb.database import Connection, reading
from portaldb.encryption import config_rows, sources
from portaldb.encryption.config_rows import Fault, Finding, Row
from portaldb.encryption.envelope import DecryptError, Header, decrypt
from portaldb.encryption.keyring import Key, Keyring, State, thumbprint
from portaldb.errors import RefusedError

Rows = Counter[str | None]
"""How many values carry which kid; None is what is no envelope."""


@dataclass(frozen=True)
class Checked:
    """What a check found; of the database, None where it was not asked."""

    keys: tuple[Key, ...]
    faults: tuple[str, ...]
    """Of the set."""
    notes: tuple[str, ...]
    rows: Rows | None
    findings: tuple[Finding, ...]
    """Of the rows."""
    opened: bool

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults and not self.findings

    def as_dict(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "sound": self.sound,
            "keys": listed(self.keys, self.rows),
            "faults": list(self.faults),
            "notes": list(self.notes),
            "opened": self.opened,
            "rows": [each.as_dict() for each in self.findings],
        }


def listed(keys: tuple[Key, ...], rows: Rows | None) -> list[dict[str, Any]]:
    """Return keys for machines, with the rows of each; and what rows say of keys that are not in the set."""
    found: list[dict[str, Any]] = [
        {"kid": key.kid, "state": str(key.state), "enc": str(key.enc), "made_at": key.made_at} for key in keys
    ]
    if rows is None:
        return found
    strange = sorted(kid for kid in rows if kid is not None and kid not in {key.kid for key in keys})
    found += [{"kid": kid, "state": "unknown", "enc": None, "made_at": None} for kid in strange]
    if rows[None]:
        found.append({"kid": None, "state": "no envelope", "enc": None, "made_at": None})
    return [each | {"rows": rows[each["kid"]]} for each in found]


def count(connection: Connection) -> Rows:
    """Count the values by kid. Raises RightsError where not every row is seen."""
    found: Rows = Counter()
    with reading(connection, role=config_rows.actor(connection)):
        for row in config_rows.every(connection):
            header = config_rows.header_of(row)
            found[header.kid if header else None] += 1
    return found


def require_no_rows(connection: Connection, keyring: Keyring, kid: str) -> int:
    """Raise RefusedError where that key opens values: retired, it would not any more.

    Returns how many carry its kid and are not opened by it: whoever may write a row may claim any, and must not keep
    a key from being retired.
    """
    rows = claims = 0
    with reading(connection, role=config_rows.actor(connection)):
        for row in config_rows.every(connection):
            header = config_rows.header_of(row)
            if header and header.kid == kid:
                opens = _opens(row, keyring, header)
                rows, claims = rows + opens, claims + (not opens)
    if rows:
        raise RefusedError(
            f"{rows:,} {'row is' if rows == 1 else 'rows are'} encrypted with the key {kid}, and nobody could open "
            f"{'it' if rows == 1 else 'them'} if it were retired. Nothing was changed. First: portaldb keys rotate"
        )
    return claims


def check(
    keyring: Keyring,
    path: Path | None,
    connection: Connection | None,
    *,
    opens: bool = False,
    watch: Callable[[int, int], None] = lambda _done, _total: None,
) -> Checked:
    """Look at a set, and at every value where a connection is given; with `opens`, open each.

    `path` is the file that the set is from, if it is. `watch` is told how many rows of how many are done.
    """
    rows: Rows | None = None
    findings: list[Finding] = []
    if connection is not None:
        rows = Counter()
        keys = config_rows.keys_by_kid(keyring)
        with reading(connection, role=config_rows.actor(connection)):
            total = config_rows.count(connection)
            for done, row in enumerate(config_rows.every(connection), 1):
                header = config_rows.header_of(row)
                rows[header.kid if header else None] += 1
                fault = config_rows.judge(row, header, keys)
                if opens and header and not fault and not _opens(row, keyring, header):
                    fault = Fault.UNREADABLE
                if fault:
                    findings.append(Finding(row.id, str(fault)))
                watch(done, total)
    return Checked(keyring.keys, _faults(keyring, path), _notes(keyring), rows, tuple(findings), opens)


def _opens(row: Row, keyring: Keyring, header: Header) -> bool:
    try:
        decrypt(row.encrypted_config, keyring, context=header.context)
    except DecryptError:
        return False
    return True


def _faults(keyring: Keyring, path: Path | None) -> tuple[str, ...]:
    keys = keyring.keys
    found = []
    if all(key.state is not State.PRIMARY for key in keys):
        found.append("No key is primary, so nothing can be encrypted. Next: portaldb keys promote KID")
    for nth, key in enumerate(keys):
        same = next((other for other in keys[:nth] if other.material == key.material), None)
        if same:
            found.append(f"{same.kid} and {key.kid} are the same key under two names: one of them should go.")
    if path is not None:
        # Once each: a symlink may lead through a folder again.
        found += dict.fromkeys(_replaceable(path))
    return tuple(found)


def _notes(keyring: Keyring) -> tuple[str, ...]:
    return tuple(
        f"{key.kid} is a name of its own, not the key's thumbprint (RFC 7638)."
        for key in keyring.keys
        if key.kid != thumbprint(key.material)
    )


def _replaceable(path: Path) -> Iterator[str]:
    """Say where on the way to a file others could put another in its place, as sshd looks with StrictModes."""
    try:
        for step in _steps(path):
            facts, typed = step.lstat(), shlex.quote(str(step))
            if facts.st_uid not in (0, os.geteuid()):
                yield (
                    f"{step} belongs to user {facts.st_uid}, who may put another file in place of the keys. "
                    f"Mend it: chown -h {os.geteuid()} {typed}"
                )
            # With the sticky bit, as in /tmp, others may add names and replace none but their own.
            if stat.S_ISDIR(facts.st_mode) and facts.st_mode & 0o022 and not facts.st_mode & stat.S_ISVTX:
                yield (
                    f"Others may write in {step} (mode {stat.S_IMODE(facts.st_mode):04o}), and so put another file in "
                    f"place of the keys. Mend it: chmod go-w {typed}"
                )
    except OSError as error:
        yield f"The way to the key file cannot be looked at: {error.strerror}."


def _steps(path: Path) -> Iterator[Path]:
    """Yield each folder, symlink and file that the name of a file leads through, one after the other."""
    here, *left = path.absolute().parts
    step = Path(here)
    yield step
    while left:
        name = left.pop(0)
        step = step.parent if name == ".." else step / name
        yield step
        if step.is_symlink():
            target = step.readlink()
            step = Path(target.anchor) if target.is_absolute() else step.parent
            left = [*target.relative_to(target.anchor).parts, *left]


def file_of(path: Path | None) -> Path | None:
    """Return the file that the keys are read from; None where they come from a variable or a command."""
    named = os.environ.get(sources.FILE)
    return path or (Path(named) if named else None)
