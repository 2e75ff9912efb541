"""What was applied to a database, and how that compares with the files."""

import difflib
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import psycopg

from portaldb.database import Connection, query, server_error
from portaldb.source import Migration


class State(StrEnum):
    """Where one migration stands; all but APPLIED, ADOPTED and PENDING stop a `migrate`, or ask for one."""

    APPLIED = "applied"
    ADOPTED = "adopted"
    PENDING = "pending"
    EDITED = "edited"
    MISSING = "missing"
    OUT_OF_ORDER = "out of order"
    FAILED = "failed"
    STARTED = "started"
    UNDOING = "undoing"
    UNVERIFIED = "unverified"
    UNMARKED = "unmarked"


REMEDY = {
    State.EDITED: "its file is not the one that was applied. Put it back, and write the change as a new migration",
    State.MISSING: "it was applied and its file is gone. Put the file back, or install the release that has it",
    State.OUT_OF_ORDER: "it is new, and later ones are applied already. Give it the next number",
    State.UNVERIFIED: "plain yoyo marked it, so its text is not known. `portaldb baseline` compares and adopts it",
    State.UNMARKED: "yoyo's mark was taken away and ours stayed. `portaldb baseline` compares and adopts it",
    State.FAILED: "its last attempt failed and left nothing behind. Mend it, then `portaldb migrate`",
    State.STARTED: "it was begun outside a transaction and not finished. `portaldb migrate` finishes it",
    State.UNDOING: "its rollback was begun outside a transaction and not finished. `portaldb rollback` finishes it, "
    "and so does `portaldb migrate`, which then applies it again",
}
"""What each unclean state means and what to do, for messages."""

CLEAN = frozenset({State.APPLIED, State.ADOPTED})
"""States that need nobody."""

REFUSED = frozenset({State.EDITED, State.MISSING, State.OUT_OF_ORDER, State.UNVERIFIED, State.UNMARKED})
"""States in which `migrate` changes nothing."""


@dataclass(frozen=True)
class Record:
    """A row of the record: yoyo's mark and ours, joined."""

    id: str
    marked: bool
    state: str | None
    checksum: str | None
    username: str | None
    started_at: datetime | None
    seconds: float | None
    message: str | None


@dataclass(frozen=True)
class Entry:
    """One migration, its state, and what is known of its run."""

    id: str
    state: State
    migration: Migration | None
    record: Record | None

    def as_dict(self) -> dict[str, Any]:
        """Return the entry for a JSON report; `seconds` is how long it ran."""
        record = self.record
        return {
            "id": self.id,
            "state": str(self.state),
            "since": record.started_at if record else None,
            "by": record.username if record else None,
            "seconds": record.seconds if record else None,
            "message": record.message if record else None,
            "remedy": REMEDY.get(self.state),
        }


_ROWS = {(True, True): "rows_both", (True, False): "rows_yoyo", (False, True): "rows_ours"}
"""The query for the tables that are there: yoyo's, ours."""


def records(connection: Connection) -> list[Record]:
    """Read the record; empty where nothing was ever applied. Writes nothing.

    Raises RightsError where the login may not read it.
    """
    try:
        there = connection.execute(query("history", "exists")).fetchone()
        name = _ROWS.get((there["yoyo"], there["ours"])) if there else None
        rows = connection.execute(query("history", name)).fetchall() if name else []
    except psycopg.Error as error:
        raise server_error(error, "reading which migrations are applied (portal_monitor may)") from None
    # Times come as seconds since 1970, which no DateStyle of the login changes.
    return [Record(**row | {"started_at": _moment(row["started_at"])}) for row in rows]


def _moment(epoch: float | None) -> datetime | None:
    return None if epoch is None else datetime.fromtimestamp(epoch, UTC)


def compare(migrations: list[Migration], applied: list[Record]) -> list[Entry]:
    """Hold the files against the record. Pure: the whole judgement of `status` and `migrate`."""
    by_id = {record.id: record for record in applied}
    last = max((record.id for record in applied if record.marked), default="")
    entries = [_entry(migration, by_id.pop(migration.id, None), last) for migration in migrations]
    # What is left in the record has no file. A failed attempt whose file was withdrawn is no concern of anybody.
    entries += [Entry(r.id, State.MISSING, None, r) for r in by_id.values() if r.state != "failed"]
    return sorted(entries, key=lambda entry: entry.id)


def _entry(migration: Migration, record: Record | None, last: str) -> Entry:
    return Entry(migration.id, _state(migration, record, last), migration, record)


def _state(migration: Migration, record: Record | None, last: str) -> State:
    if record is None or (record.state == State.FAILED and not record.marked):
        if migration.id < last:
            return State.OUT_OF_ORDER
        return State.PENDING if record is None else State.FAILED
    if record.state is None or record.state == State.FAILED:
        return State.UNVERIFIED
    if not record.marked and record.state != State.STARTED:
        return State.UNMARKED
    if record.checksum != migration.checksum:
        return State.EDITED
    return State(record.state)


def difference(migration: Migration, applied_sql: str, lines: int = 12) -> str:
    """Show how a file differs from the text that was applied, in the first lines of a diff."""
    diff = list(
        difflib.unified_diff(
            applied_sql.splitlines(), migration.script.text.splitlines(), "applied", migration.name, "", "", 0, ""
        )
    )
    shown = diff[:lines]
    if len(diff) > lines:
        shown.append(f"… and {len(diff) - lines} more lines")
    return "\n".join(f"    {line}" for line in shown)
