"""Rotation: every value comes under the primary key, in batches, beside people at work.

A batch is one transaction: rows that are not under the primary are locked, skipping what others hold, opened and
encrypted here, and written back. So a row is never made stale, and killed at any moment every row opens. What is
under the primary is not chosen again: running the command again goes on from there. Keys and texts never leave this
process.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, TypeVar
from uuid import UUID

import psycopg
from psycopg import conninfo, sql

from portaldb import database as db
from portaldb.database import Connection, is_lost, query, server_error
from portaldb.encryption import base64url, config_rows, legacy
from portaldb.encryption.config_rows import Fault, Finding, Row
from portaldb.encryption.envelope import DecryptError, decrypt, encrypt
from portaldb.encryption.keyring import Key, Keyring, State
from portaldb.engine import Say
from portaldb.errors import LockTimeoutError, RefusedError

T = TypeVar("T")

LOCK_KEY = 0x726F746174696F6E
"""The advisory lock of a rotation: the letters of 'rotation'."""

_RETRIED = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
)
_REFUSALS = ("22", "23", "44", "P0")
"""Classes of errors with which a trigger or a constraint refuses one row."""
_WHOLE = ("08", "25", "40", "53", "57", "58", "F0", "XX")
"""Classes of errors that are of the whole server or session; any other may be of one row, if others get past."""

_PART = 100
"""Rows that are sent at once."""
_PART_LETTERS = 8_000_000
"""Letters of old and new values that are sent at once: a message of the protocol ends at 1 GB."""
_RETRY_FOR = 60.0
_LOCK_PATIENCE = 3.0
"""Seconds in which a server notices that the rotation before this one was killed."""
_ROUNDS = 5
"""How often it comes back for rows that were written under another key behind it, before it says so."""


@dataclass(frozen=True)
class Options:
    """How to rotate; all times in seconds."""

    batch: int = 100
    pause: float = 0.0
    """Between batches."""
    bind: bool = False
    """Bind unbound values to their rows."""
    dry_run: bool = False
    """Open everything, change nothing."""
    legacy_key: bytes | None = field(default=None, repr=False)
    """The AES key of the old format; None leaves such values as they are."""
    patience: float = 30.0
    """How long to come back for rows that others hold locked, while nothing moves."""


@dataclass(frozen=True)
class Progress:
    """Where a rotation is; `total` was counted at its start."""

    done: int
    failed: int
    total: int
    seconds: float


@dataclass(frozen=True)
class Rotation:
    """What a rotation did; with `dry_run`, what it would have done."""

    primary: str
    dry_run: bool
    rotated: int
    moved: dict[str, int]
    """Rows re-encrypted, by the kid that they had; '' is the old format."""
    changed: int
    """Rows that others changed or deleted meanwhile."""
    failed: tuple[Finding, ...]
    seconds: float
    finished: bool
    """False where it was asked to stop."""

    @property
    def rate(self) -> float:
        """Rows re-encrypted in a second."""
        return self.rotated / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "primary": self.primary,
            "dry_run": self.dry_run,
            "finished": self.finished,
            "rotated": self.rotated,
            "moved": {kid or str(Fault.OLD_FORMAT): count for kid, count in self.moved.items()},
            "changed_meanwhile": self.changed,
            "failed": [each.as_dict() for each in self.failed],
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.rate, 1),
        }


def rotate(
    connection: Connection,
    load: Callable[[], Keyring],
    options: Options,
    say: Say,
    *,
    watch: Callable[[Progress], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Rotation:
    """Re-encrypt every value that is not under the primary key, and return what was done and what failed.

    `load` reads the keys, once no other rotation is at work and no key is being retired. `watch` is told after each
    batch, `stopped` is asked before it. The connection is in autocommit. Raises
    KeyringError without a primary key; RefusedError where another rotation is at work or a pooler stands in between;
    RightsError; LockTimeoutError where the table stays locked. What was committed before stays, and is right.
    """
    # A dry run too: what it tells would not come about for a login that may not write.
    role = config_rows.actor(connection, writes=True)
    with nullcontext() if options.dry_run else alone(connection):
        run = _Run(connection, load(), options, say, role, watch, stopped)
        run.everything()
    return run.outcome()


@contextmanager
def alone(connection: Connection) -> Iterator[None]:
    """Keep other rotations away, which would write under a key while it is retired.

    Raises RefusedError where one is at work, or a pooler stands in between.
    """
    # Behind a transaction pooler the lock would be another client's.
    db.require_direct(
        connection, conninfo.make_conninfo(connection.info.dsn, password=connection.info.password or None)
    )
    _lock(connection)
    try:
        yield
    finally:
        # Where the connection is gone, so is the lock.
        with suppress(psycopg.Error):
            connection.execute(query("engine", "unlock"), {"key": LOCK_KEY})


def _lock(connection: Connection) -> None:
    until = time.monotonic() + _LOCK_PATIENCE
    with db.translated("looking for another rotation"):
        while not _asked(connection, "engine", "try_lock", key=LOCK_KEY)["held"]:
            if time.monotonic() > until:
                holders = connection.execute(query("engine", "lock_holder"), {"key": LOCK_KEY}).fetchall()
                who = f" (process {holders[0]['pid']} of {holders[0]['username']})" if holders else ""
                raise RefusedError(
                    f"Another rotation, or another 'keys retire', is at work on this database{who}. Nothing was "
                    "changed. It works alone; run this again when it is done."
                )
            time.sleep(0.1)


@dataclass
class _Run:
    """A rotation under way."""

    connection: Connection
    keyring: Keyring
    options: Options
    say: Say
    role: str
    watch: Callable[[Progress], None]
    stopped: Callable[[], bool]
    started: float = field(default_factory=time.monotonic)
    total: int = 0
    changed: int = 0
    cut: bool = False
    """Whether it was asked to stop, and did."""
    moved: Counter[str] = field(default_factory=Counter)
    settled: dict[UUID, str] = field(default_factory=dict)
    """Rows that are not looked at again: the reason why they failed; '' is right as it is."""
    shared: frozenset[UUID] = frozenset()
    """Rows with an unbound value that another row has too: to bind it would make one row's secret the other's."""

    def __post_init__(self) -> None:
        self.primary: Key = self.keyring.primary
        self.keys = config_rows.keys_by_kid(self.keyring)
        # Chosen in SQL by how the header begins, which needs no function of ours and costs next to nothing. Whatever
        # another library wrote with its members in another order is judged here, and left if it is under the primary.
        self.usual = [_usual(key) for key in self.keyring.keys if key.state is not State.RETIRED]
        mine = next(each for each in self.usual if each.kid == self.primary.kid)
        self.where = {"current": mine.beginning, "unbound": mine.unbound if self.options.bind else None}

    def everything(self) -> None:
        """Go over the table, and come back for what was locked or written under another key behind."""
        self.total = self._patiently(self._count)
        if self.options.bind:
            self.shared = frozenset(self._ids("shared"))
        self._tell()
        self._walk(None)
        if self.options.dry_run:
            return
        for _ in range(_ROUNDS):
            if self.cut or not (left := self._stale(None) - self.settled.keys()):
                return
            self.settled |= dict.fromkeys(self._come_back(left), Fault.LOCKED)
        if not self.cut:
            self.settled |= dict.fromkeys(self._stale(None) - self.settled.keys(), Fault.RENEWED)

    def outcome(self) -> Rotation:
        """Return what came of it; a row that failed and was then overwritten or deleted by others did not fail."""
        seconds = time.monotonic() - self.started
        failed = {each: reason for each, reason in self.settled.items() if reason}
        still = self._stale(list(failed)) if failed else set()
        return Rotation(
            primary=self.primary.kid,
            dry_run=self.options.dry_run,
            rotated=self.moved.total(),
            moved=dict(self.moved),
            changed=self.changed,
            failed=tuple(Finding(each, failed[each]) for each in sorted(still)),
            seconds=seconds,
            finished=not self.cut,
        )

    def _walk(self, ids: list[UUID] | None) -> None:
        """Go once over the stale rows of the table, or of some ids, in the order of their ids."""
        last: UUID | None = None
        while not self._cut():
            rows = self._patiently(lambda last=last: self._batch(last, ids))  # type: ignore[misc]
            self._tell()
            if not rows:
                return
            last = rows[-1].id
            self._rest(self.options.pause)

    def _come_back(self, left: set[UUID]) -> set[UUID]:
        """Try rows that were locked until they are done; return those that stay locked while nothing moves."""
        pause, until = 0.1, time.monotonic() + self.options.patience
        while left and not self._cut():
            for ids in _chunks(sorted(left), self.options.batch):
                self._walk(ids)
            now = self._stale(list(left)) - self.settled.keys()
            if len(now) < len(left):
                pause, until = 0.1, time.monotonic() + self.options.patience
            elif time.monotonic() > until:
                return now
            left = now
            if left:
                self.say(f"waiting: {len(left):,} rows are locked by other sessions", passing=True)
                self._rest(pause)
                pause = min(pause * 2, 2.0)
        return set()

    def _batch(self, last: UUID | None, ids: list[UUID] | None) -> list[Row]:
        """Do one transaction; return the rows that it chose."""
        settled: dict[UUID, str] = {}
        with self.connection.transaction():
            self._prepare()
            rows = self._choose(last, ids)
            new = self._renewed((row for row in rows if row.id not in self.settled), settled)
            if self.options.dry_run:
                moved = [each.kid for each in new]
                changed = 0
            else:
                written, tried = self._write(new, settled)
                moved = [each.kid for each in tried if each.row.id in written]
                changed = sum(each.row.id not in written and each.row.id not in settled for each in tried)
        # Only now is it committed.
        self.settled |= settled
        self.moved.update(moved)
        self.changed += changed
        return rows

    def _choose(self, last: UUID | None, ids: list[UUID] | None) -> list[Row]:
        lock = sql.SQL("" if self.options.dry_run else query("keys", "lock"))
        chosen = sql.SQL(query("keys", "batch")).format(lock=lock)
        values = {"last": last, "ids": ids, "size": self.options.batch, **self.where}
        return [Row(**found) for found in self.connection.execute(chosen, values)]

    def _renewed(self, rows: Iterable[Row], settled: dict[UUID, str]) -> "Iterator[_New]":
        """Encrypt rows one after the other, settling those for which there is no new value."""
        for row in rows:
            opened = self._open_usual(row) or self._open(row)
            if isinstance(opened, str):
                settled[row.id] = opened
                continue
            if self.options.bind and not opened.bound and row.id in self.shared:
                settled[row.id] = Fault.SHARED
                continue
            bound = opened.bound or self.options.bind
            yield _New(row, encrypt(opened.text, self.keyring, context=row.context if bound else None), opened.kid)

    def _open_usual(self, row: Row) -> "_Opened | None":
        """Open a value whose header is as we write it: known by its beginning, it is parsed once and not twice."""
        value = row.encrypted_config
        for each in self.usual:
            if value.startswith(each.beginning):
                bound = not value.startswith(each.unbound)
                with suppress(DecryptError):
                    text = decrypt(value, self.keyring, context=row.context if bound else None)
                    return _Opened(text, each.kid, bound)
        return None

    def _open(self, row: Row) -> "_Opened | str":
        header = config_rows.header_of(row)
        fault = config_rows.judge(row, header, self.keys)
        try:
            if fault is Fault.OLD_FORMAT and self.options.legacy_key is not None:
                return _Opened(legacy.decrypt(row.encrypted_config, self.options.legacy_key), "", bound=False)
            if header is None or fault:
                return str(fault)
            bound = header.context is not None
            if header.kid == self.primary.kid and (bound or not self.options.bind):
                return ""
            return _Opened(decrypt(row.encrypted_config, self.keyring, context=header.context), header.kid, bound)
        except (DecryptError, ValueError):
            return str(Fault.UNREADABLE)

    def _write(self, new: "Iterator[_New]", settled: dict[UUID, str]) -> "tuple[set[UUID], list[_New]]":
        """Write a batch; where the database refuses it, row by row, settling those that it refuses.

        Returns the ids that were written, and what was tried.
        """
        tried: list[_New] = []
        answers = []
        try:
            # The server writes one part while the next is encrypted here.
            with self.connection.transaction(), self.connection.pipeline():
                for part in _parts(new):
                    tried += part
                    answers.append(self._send(part))
            return {row["id"] for answer in answers for row in answer}, tried
        except psycopg.Error as error:
            if not _refuses_row(error):
                raise
        tried += new
        written: set[UUID] = set()
        refused: list[psycopg.Error] = []
        for each in tried:
            try:
                with self.connection.transaction():
                    written |= {row["id"] for row in self._send([each])}
            except psycopg.Error as error:
                if not _refuses_row(error):
                    raise
                refused.append(error)
                name = f" {error.diag.constraint_name}" if error.diag.constraint_name else ""
                settled[each.row.id] = f"{Fault.REFUSED} ({error.sqlstate}{name})"
        # What no row gets past is said once, and not of every row; but that one row was bad is in the data.
        others = [each for each in refused if (each.sqlstate or "")[:2] not in _REFUSALS]
        if others and not written and not self.moved:
            raise others[0]
        return written, tried

    def _send(self, new: "list[_New]") -> psycopg.Cursor[dict[str, Any]]:
        values = {
            "ids": [each.row.id for each in new],
            "old": [each.row.encrypted_config for each in new],
            "new": [each.value for each in new],
        }
        return self.connection.execute(query("keys", "write"), values)

    def _rest(self, seconds: float) -> None:
        """Wait, but no longer once it is asked to stop."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._cut():
            time.sleep(min(left, 0.1))

    def _cut(self) -> bool:
        self.cut = self.cut or self.stopped()
        return self.cut

    def _count(self) -> int:
        with self.connection.transaction():
            self._prepare()
            return int(_asked(self.connection, "keys", "count_stale", **self.where)["rows"])

    def _stale(self, ids: list[UUID] | None) -> set[UUID]:
        return self._ids("stale", ids=ids, **self.where)

    def _ids(self, name: str, **values: object) -> set[UUID]:
        def look() -> set[UUID]:
            with self.connection.transaction():
                self._prepare()
                return {each["id"] for each in self.connection.execute(query("keys", name), values)}

        return self._patiently(look)

    def _prepare(self) -> None:
        # In each transaction, so that nothing of it stays in the session.
        self.connection.execute(query("keys", "prepare"), {"role": self.role})

    def _tell(self) -> None:
        failed = sum(bool(reason) for reason in self.settled.values())
        self.watch(Progress(self.moved.total(), failed, self.total, time.monotonic() - self.started))

    def _patiently(self, work: Callable[[], T]) -> T:
        """Do one transaction, again and again while only locks stand in the way."""
        pause, until = 0.25, time.monotonic() + _RETRY_FOR
        while True:
            try:
                return work()
            except _RETRIED as error:
                said = error.diag.message_primary
                if time.monotonic() > until:
                    raise LockTimeoutError(
                        f"The rotation got no lock on {config_rows.TABLE} for {_RETRY_FOR:.0f} s: {said}. What it "
                        "re-encrypted before stays. Run the same command again at a quieter time."
                    ) from None
                self.say(f"retrying: {said}")
                time.sleep(pause)
                pause = min(pause * 2, 4.0)
            except psycopg.Error as error:
                raise server_error(error, "re-encrypting") from None


@dataclass(frozen=True)
class _Usual:
    """How the values of a key begin when we wrote them: all of them, and those that are bound to nothing."""

    kid: str
    beginning: str
    unbound: str


def _usual(key: Key) -> _Usual:
    header = encrypt("", Keyring((replace(key, state=State.PRIMARY),)), context=None).partition(".")[0]
    beginning = base64url.decode(header).partition(b"ctx=")[0]
    # Three bytes are four letters: what begins so goes on as it likes.
    return _Usual(key.kid, base64url.encode(beginning[: len(beginning) // 3 * 3]), f"{header}.")


@dataclass(frozen=True)
class _New:
    """A row, its new value, and the kid that it had."""

    row: Row
    value: str
    kid: str


@dataclass(frozen=True)
class _Opened:
    """What was in a value, under which key, and whether it was bound to its row."""

    text: str = field(repr=False)
    kid: str
    bound: bool


def _refuses_row(error: psycopg.Error) -> bool:
    state = error.sqlstate or ""
    return not isinstance(error, _RETRIED) and not is_lost(error) and bool(state) and state[:2] not in _WHOLE


def _asked(connection: Connection, stem: str, name: str, **values: object) -> dict[str, Any]:
    row = connection.execute(query(stem, name), values).fetchone()
    assert row is not None  # noqa: S101 - these queries have one row always
    return row


def _parts(each: "Iterable[_New]") -> "Iterator[list[_New]]":
    """Cut a batch into what is sent at once, by rows and by letters."""
    part: list[_New] = []
    letters = 0
    for new in each:
        part.append(new)
        letters += len(new.row.encrypted_config) + len(new.value)
        if len(part) == _PART or letters > _PART_LETTERS:
            yield part
            part, letters = [], 0
    if part:
        yield part


def _chunks(each: Iterable[UUID], size: int) -> Iterator[list[UUID]]:
    rest = iter(each)
    while chunk := list(islice(rest, size)):
        yield chunk
