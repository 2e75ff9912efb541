"""pgTAP's tests run inside a transaction of ours, so that what they say of a change is known before it is undone.

pg_prove runs each file in a session of its own, which sees nothing that is not committed. Here a file is what psql
would send of it: includes put in, `\\gset` obeyed, the rest of psql's commands, BEGIN and ROLLBACK left out.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from portaldb.database import Connection
from portaldb.verify.pgtap import EXCUSED

_INCLUDE = re.compile(r"^\\ir\s+(\S+)\s*$", re.MULTILINE)
_SETTING = re.compile(r"^\\(?:set|pset)\b.*$", re.MULTILINE)
_SET = re.compile(r"^\\set (\w+) '?(.*?)'?$", re.MULTILINE)
_ENDS = re.compile(r"^(?:BEGIN|ROLLBACK);$", re.MULTILINE)
_GSET = re.compile(r"\s*\\gset[ \t]*$", re.MULTILINE)
_COMMAND = re.compile(r"^\\", re.MULTILINE)
_VARIABLE = re.compile(r":'(\w+)'")
_NOT_OK = re.compile(r"not ok\b", re.IGNORECASE)
_PLAN = "# Looks like you planned"


@dataclass(frozen=True)
class Script:
    """A test file without what it begins like all others with; in parts, each of which gives variables to the next."""

    name: str
    parts: tuple[str, ...]
    variables: tuple[tuple[str, str], ...] = ()
    """Those that it sets at its beginning."""

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.parts)


def read(files: Iterable[Path]) -> tuple[str, list[Script]]:
    """Return what every file includes first, to be run once, and each file that can be run after it here."""
    texts = {path: path.read_text(encoding="utf-8") for path in files}
    firsts = {path: _INCLUDE.search(text) for path, text in texts.items()}
    shared = {(path.parent / first[1]).resolve() for path, first in firsts.items() if first}
    if len(shared) != 1 or not all(firsts.values()):
        return "", [script for path, text in texts.items() if (script := _script(path, text))]
    once = _cleaned(next(iter(shared)))
    rest = {path: _INCLUDE.sub("", text, count=1) for path, text in texts.items()}
    return once, [script for path, text in rest.items() if (script := _script(path, text))]


def _script(path: Path, text: str) -> Script | None:
    """Return a script, or None where psql would have to obey more than is obeyed here."""
    text = _INCLUDE.sub(lambda include: (path.parent / include[1]).read_text(encoding="utf-8"), text)
    parts = tuple(_GSET.split(_ENDS.sub("", _SETTING.sub("", text))))
    return None if any(_COMMAND.search(part) for part in parts) else Script(path.name, parts, tuple(_SET.findall(text)))


def _cleaned(path: Path) -> str:
    return _ENDS.sub("", _SETTING.sub("", path.read_text(encoding="utf-8")))


def fault(connection: Connection, script: Script) -> str:
    """Run a script in a savepoint, and return what is wrong by its first complaint; empty where nothing is."""
    variables: dict[str, object] = dict(script.variables)
    try:
        with connection.transaction(force_rollback=True):
            for part in script.parts:
                said, row = _run(connection, _filled(part, variables))
                if said:
                    return f"{script.name}: {said}"
                variables |= row
    except psycopg.errors.QueryCanceled:
        return f"{script.name}: it does not come to its end"
    except psycopg.Error as error:
        return f"{script.name}: {error.diag.message_primary or error} ({error.sqlstate})"
    return ""


def _filled(text: str, variables: dict[str, object]) -> str:
    """Put psql's variables in, as literals."""
    return _VARIABLE.sub(
        lambda found: sql.Literal(variables[found[1]]).as_string(None) if found[1] in variables else found[0], text
    )


def _complains(line: str) -> bool:
    """Say whether a line of TAP is a failure, or finish() counting other tests than were planned."""
    return line.startswith(_PLAN) or bool(_NOT_OK.match(line) and not EXCUSED.search(line))


def _run(connection: Connection, text: str) -> tuple[str, dict[str, object]]:
    """Send statements in one round trip; return the first line that complains, and the last row that came back."""
    cursor = connection.execute(text.encode())
    row: dict[str, object] = {}
    while True:
        if cursor.description:
            for row in cursor.fetchall():
                for value in row.values():
                    if isinstance(value, str) and any(map(_complains, value.splitlines())):
                        return value.splitlines()[0], row
        if not cursor.nextset():
            return "", row
