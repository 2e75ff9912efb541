"""`portaldb audit`: the trail as a file, and as it grows. It only reads, so a standby serves it as well.

The trail is read through a cursor on the server, so that its size is no matter, in one snapshot; entries come in the
order of time, and those of one moment by id. Times are written in UTC.
"""

import csv
import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

import psycopg
from psycopg import sql

from portaldb.database import Connection, query, translated
from portaldb.errors import PortalError, RefusedError, UsageError

COLUMNS = (
    "id", "timestamp", "user_id", "action", "resource_type", "resource_id", "details", "ip_address", "user_agent",
    "session_id",
)  # fmt: skip

_AT_ONCE = 2000
"""Rows that are asked for at a time."""

LATE = timedelta(minutes=5)
"""An entry carries the moment at which its transaction began: for so long `tail` looks for those that commit late."""

Entry = dict[str, Any]


@dataclass(frozen=True)
class Filter:
    """Which entries are asked for; None leaves nothing out."""

    user: str | None = None
    """An id, an Azure object id or an address."""
    action: str | None = None
    resource: str | None = None
    """A kind of thing, its id, or kind:id."""
    since: datetime | None = None
    until: datetime | None = None


def moment(text: str) -> datetime:
    """Read a date, a moment in ISO 8601, or an age such as 90m, 12h, 30d; UTC where no offset is told."""
    unit = {"m": "minutes", "h": "hours", "d": "days"}.get(text[-1:])
    try:
        if unit and text[:-1].isdigit():
            return datetime.now(UTC) - timedelta(**{unit: int(text[:-1])})
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is no moment. Write 2026-11-30, 2026-11-30T08:00+01:00, or an age: 90m, 12h, 30d."
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


Transaction = Callable[[], AbstractContextManager[None]]


@contextmanager
def _reading(connection: Connection) -> Iterator[Transaction]:
    """Give what begins a read-only transaction, with one snapshot, as a role that sees every entry.

    What is set is the transaction's, so that a pooler hands nothing on. The owner sees all by its policy; whoever else
    is to see all, or to get an error, and never a part: hence row_security.
    """
    with translated("looking for a role that reads the trail"):
        found = connection.execute(query("audit", "reader")).fetchone()
    role = found["role"] if found else None
    values = {"role": role or "none", "row_security": "on" if role == "mcp_admin" else "off"}

    @contextmanager
    def transaction() -> Iterator[None]:
        with connection.transaction():
            connection.execute(query("audit", "settle"), values)
            yield

    connection.read_only = True
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    try:
        with translated("reading the trail"):
            yield transaction
    finally:
        if not connection.closed:
            connection.read_only = connection.isolation_level = None


def _where(connection: Connection, chosen: Filter) -> tuple[list[str], Entry]:
    """Return the conditions of a filter, and their values."""
    conditions, values = ["true"], {}
    if chosen.user is not None:
        found = connection.execute(query("audit", "person"), {"who": chosen.user}).fetchall()
        if len(found) != 1:
            said = "no user" if not found else "more than one user"
            raise UsageError(f"{chosen.user!r} is {said} of this database. Give the user's id.")
        conditions.append("a.user_id = %(user)s::uuid")
        values["user"] = found[0]["id"]
    if chosen.action is not None:
        conditions.append("a.action = %(action)s")
        values["action"] = chosen.action
    if chosen.resource is not None:
        kind, colon, given = chosen.resource.rpartition(":")
        is_id = len(given) == 36  # noqa: PLR2004 - a UUID's length
        if colon and not is_id:
            raise UsageError(f"{chosen.resource!r} is no thing: write server, an id, or server:id.")
        if kind or not is_id:
            conditions.append("a.resource_type = %(kind)s")
            values["kind"] = kind or given
        if is_id:
            conditions.append("a.resource_id = %(thing)s::uuid")
            values["thing"] = given
    if chosen.since is not None:
        conditions.append("a.timestamp >= %(since)s")
        values["since"] = chosen.since
    if chosen.until is not None:
        conditions.append("a.timestamp < %(until)s")
        values["until"] = chosen.until
    return conditions, values


def _statement(conditions: Sequence[str], *, order: str = "", limit: str = "") -> sql.Composed:
    parts = {"where": "\n    AND ".join(conditions), "order": order, "limit": limit}
    return sql.SQL(query("audit", "entries")).format(**{name: sql.SQL(text) for name, text in parts.items()})


def export(connection: Connection, chosen: Filter, form: str, out: TextIO, watch: Callable[[int, float], None]) -> int:
    """Write the entries to `out`, as JSON Lines or CSV; return how many.

    `watch` is told how many are written, and what part of the span of time they reach.
    """
    write = _writer(form, out)
    done = 0
    with _reading(connection) as transaction, transaction():
        conditions, values = _where(connection, chosen)
        span = connection.execute(query("audit", "span"), {"since": chosen.since, "until": chosen.until}).fetchone()
        assert span is not None  # noqa: S101 - a SELECT without FROM has one row
        with connection.cursor(name="portaldb_audit") as cursor:
            cursor.itersize = _AT_ONCE
            cursor.execute(_statement(conditions), values)
            for row in cursor:
                write(row)
                done += 1
                if done % _AT_ONCE == 0:
                    watch(done, _part(span, row["moment"]))
    return done


def _part(span: Entry, when: datetime | None) -> float:
    first, last = span["first"], span["last"]
    if first is None or when is None or last <= first:
        return 0
    return min(1.0, max(0.0, float((when - first) / (last - first))))


def _writer(form: str, out: TextIO) -> Callable[[Entry], None]:
    if form == "csv":
        rows = csv.writer(out, lineterminator="\n")
        rows.writerow(COLUMNS)

        def write(row: Entry) -> None:
            rows.writerow([row[name] for name in COLUMNS])

        return write

    def write_line(row: Entry) -> None:
        out.write(as_line(row) + "\n")

    return write_line


def as_line(row: Entry) -> str:
    """Return an entry as a line of JSON; `details` as the server writes them, whose numbers have any length."""
    told = (
        f'"{name}":{(row[name] or "null") if name == "details" else json.dumps(row[name], ensure_ascii=False)}'
        for name in COLUMNS
    )
    return "{" + ",".join(told) + "}"


@contextmanager
def standard_output() -> Iterator[TextIO]:
    """Give standard output, flushed at the end; raises PortalError where it takes no more."""
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        raise  # whoever reads has seen enough
    except OSError as error:
        raise PortalError(f"Standard output takes no more: {error.strerror}. The export is not complete.") from None


@contextmanager
def whole_file(path: Path, *, force: bool) -> Iterator[TextIO]:
    """Open a file that is there only when it is complete, and that its owner alone can read.

    It is written under another name beside, flushed to the disk and renamed; raises RefusedError where one of that
    name is there and `force` is not given.
    """
    if path.exists() and not force:
        raise RefusedError(f"{path} is there already, and was left alone. Choose another name, or add --force.")
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise RefusedError(f"{path} is no file. For a pipe, leave --output out and redirect standard output.")
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise PortalError(f"{path} cannot be written: {error.strerror}. Nothing was exported.") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        beside.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise PortalError(f"{path} cannot be written: {error.strerror}. Nothing was left behind.") from None
    finally:
        with suppress(FileNotFoundError):
            beside.unlink()


def tail(connection: Connection, chosen: Filter, lines: int, *, follow: bool, every: float) -> Iterator[Entry]:
    """Give the last entries, the oldest of them first, and with `follow` those that come, for ever."""
    with _reading(connection) as transaction:
        with transaction():
            conditions, values = _where(connection, chosen)
            last = connection.execute(
                _statement(conditions, order="DESC", limit="LIMIT %(limit)s"), values | {"limit": lines}
            ).fetchall()
            began = connection.execute(query("audit", "now")).fetchone()
            assert began is not None  # noqa: S101 - a SELECT without FROM has one row
            newest = began["now"]
            # What is there already is not told a second time as news.
            seen = {row["id"]: row["moment"] for row in _since(connection, conditions, values, newest - LATE)}
        yield from reversed(last)
        while follow:
            time.sleep(every)
            with transaction():
                found = _since(connection, conditions, values, newest - LATE)
            for row in found:
                if row["id"] not in seen:
                    yield row
            seen = {row["id"]: row["moment"] for row in found}
            newest = max([newest, *(when for when in seen.values() if when)])


def _since(connection: Connection, conditions: Sequence[str], values: Entry, since: datetime) -> list[Entry]:
    return connection.execute(_statement([*conditions, "a.timestamp >= %(from)s"]), values | {"from": since}).fetchall()
