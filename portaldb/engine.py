"""The engine: puts migrations and rollbacks into a database so that a crash at any moment loses nothing.

The SQL of a migration, yoyo's mark and log, and our checksum are committed together. A file that cannot run in a
transaction is recorded as started first, and a later run finishes it. One engine works on a database at a time,
held by a session advisory lock that the server releases when the client dies.
"""

import hashlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import psycopg
from psycopg import conninfo

from portaldb import database
from portaldb.database import OWNER, Connection, is_lost, query, server_error, translated
from portaldb.errors import (
    ConnectError,
    LockTimeoutError,
    MigrationFailedError,
    PortalError,
    RefusedError,
    UsageError,
)
from portaldb.history import REFUSED, REMEDY, Entry, State, compare, difference, records
from portaldb.source import Migration, Script, Statement, UnparsableError

LOCK_KEY = 0x706F7274616C6462 & 0x7FFFFFFFFFFFFFFF
"""The advisory lock of `migrate` and `rollback`: the letters of 'portaldb'."""

RETRY_SAFE = {
    "IndexStmt": "CREATE INDEX CONCURRENTLY",
    "DropStmt": "DROP INDEX CONCURRENTLY",
    "VacuumStmt": "VACUUM or ANALYZE",
}
"""The statements a non-transactional file may hold: after a crash each can be finished without a person.

REINDEX CONCURRENTLY is none of them: it leaves an INVALID index of a name that it chose.
"""

_RETRIED = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


class Say(Protocol):
    """Takes a line of progress; a passing one is overtaken by the next (a terminal overwrites it)."""

    def __call__(self, line: str, *, passing: bool = False) -> None:
        """Show the line."""


@dataclass(frozen=True)
class Options:
    """How an engine waits; all times in seconds."""

    lock_timeout: float = 2.0
    """How long one statement may wait for a lock before everyone behind it is let through."""
    retry_for: float = 60.0
    """How long a migration that met a lock is tried again before giving up."""
    queue_for: float = 600.0
    """How long to wait for another engine on the same database."""


@dataclass(frozen=True)
class Done:
    """One migration that was applied or undone; seconds are those of the attempt that succeeded."""

    id: str
    seconds: float


# --- one engine at a time ------------------------------------------------------------------------------------------


@contextmanager
def exclusive(connection: Connection, options: Options, say: Say) -> Iterator[None]:
    """Hold the database's engine lock, polling for it outside any transaction.

    A waiter inside pg_advisory_lock() holds a snapshot, for which a CREATE INDEX CONCURRENTLY of the holder would
    wait in turn. Raises LockTimeoutError naming the holder.
    """
    _wait_for_lock(connection, options.queue_for, say)
    try:
        yield
    finally:
        # Where the connection is gone, so is the lock.
        with suppress(psycopg.Error):
            connection.execute(query("engine", "unlock"), {"key": LOCK_KEY})


def _wait_for_lock(connection: Connection, patience: float, say: Say) -> None:
    started = time.monotonic()
    told = False
    while not _row(connection, "try_lock", key=LOCK_KEY)["held"]:
        waited = time.monotonic() - started
        if waited > patience:
            raise LockTimeoutError(
                f"{_holder(connection)} is still at work on this database after {waited:.0f} s. Nothing was changed. "
                "Run the same command again when it is done."
            )
        if waited > 1 and not told:
            say(f"waiting: {_holder(connection)} is at work on this database")
            told = True
        time.sleep(random.uniform(0.05, 0.15))  # noqa: S311 - jitter, not a secret


def _holder(connection: Connection) -> str:
    rows = connection.execute(query("engine", "lock_holder"), {"key": LOCK_KEY}).fetchall()
    if not rows:
        return "another portaldb"
    row = rows[0]
    where = f" from {row['address']}" if row["address"] else ""
    return f"{row['application_name'] or 'another portaldb'} of {row['username']}{where} (process {row['pid']})"


# --- what migrate and rollback do ----------------------------------------------------------------------------------


ROLLBACK_REFUSED = REFUSED - {State.OUT_OF_ORDER} | {State.STARTED}
"""States in which `rollback` changes nothing: a late file is no obstacle to going back."""


def look(connection: Connection, migrations: list[Migration], refused: frozenset[State] = REFUSED) -> list[Entry]:
    """Compare files and database; raise RefusedError where what is found must not be touched."""
    entries = compare(migrations, records(connection))
    _refuse(connection, [entry for entry in entries if entry.state in refused])
    return entries


_SHOWN = 5
"""How many disagreements a message spells out; `portaldb status` has them all."""


def _refuse(connection: Connection, wrong: list[Entry]) -> None:
    """Raise RefusedError naming what disagrees, with the beginning of the first edited file's diff."""
    if not wrong:
        return
    lines = []
    for entry in wrong[:_SHOWN]:
        name = entry.migration.name if entry.migration else entry.id
        lines.append(f"  {name} is {entry.state}: {REMEDY[entry.state]}.")
    if len(wrong) > _SHOWN:
        lines.append(f"  … and {len(wrong) - _SHOWN} more; `portaldb status` shows them all.")
    edited = next((entry for entry in wrong if entry.state is State.EDITED and entry.migration), None)
    if edited and edited.migration:
        row = connection.execute(query("history", "applied_sql"), {"id": edited.id}).fetchone()
        lines.append(difference(edited.migration, row["sql"]) if row else "")
    raise RefusedError("Nothing was changed, because files and database disagree:\n" + "\n".join(lines))


def up_to(migrations: list[Migration], target: str | None) -> list[Migration]:
    """Return the migrations up to and including the one that a number, an id or its beginning names.

    Raises UsageError for an unknown or ambiguous target.
    """
    if target is None:
        return migrations
    return migrations[: migrations.index(find(migrations, target)) + 1]


def find(migrations: list[Migration], target: str) -> Migration:
    """Find one migration by number (`7`, `0007`) or id; raise UsageError where it names none."""
    wanted = target.strip()
    for migration in migrations:
        if migration.id == wanted or (wanted.isdecimal() and migration.number == int(wanted)):
            return migration
    raise UsageError(
        f"there is no migration {target}: they run from {migrations[0].id} to {migrations[-1].id}. "
        "`portaldb status` lists them."
    )


def pending(entries: list[Entry], wanted: list[Migration]) -> list[Migration]:
    """Return what `migrate` would apply, in order."""
    open_states = (State.PENDING, State.FAILED, State.STARTED, State.UNDOING)
    ids = {entry.id for entry in entries if entry.state in open_states}
    return [migration for migration in wanted if migration.id in ids]


def migrate(
    url: str, migrations: list[Migration], *, to: str | None, options: Options, wait: float, dry_run: bool, say: Say
) -> list[Done]:
    """Apply what is pending, each migration in its own transaction, and return what was done.

    Raises RefusedError before anything is changed; LockTimeoutError or MigrationFailedError after the migrations
    that came before the failing one, which stay applied.
    """
    wanted = up_to(migrations, to)
    with (
        database.connect(url, wait=wait, name="portaldb migrate") as connection,
        translated("reading what is applied"),
    ):
        database.require_owner(database.facts(connection))
        # Without the lock, so that a database with nothing to do neither waits nor makes others wait.
        with database.reading(connection, role=OWNER):
            entries = look(connection, migrations)
        if not pending(entries, wanted) and not _half_undone(entries):
            return []
        database.require_direct(connection, url)
        _prepare_session(connection, options)
        with exclusive(connection, options, say):
            entries = look(connection, migrations)
            todo = pending(entries, wanted)
            if dry_run:
                return _rehearse(connection, todo, options, say)
            _ensure_record(connection)
            for migration in _half_undone(entries):
                say(f"finishing the rollback of {migration.name}, which was interrupted")
                _undo(connection, migration, options, say)
            done = []
            for nth, migration in enumerate(todo, 1):
                say(f"[{nth}/{len(todo)}] applying {migration.name} …", passing=True)
                seconds = _apply(connection, migration, options, say)
                done.append(Done(migration.id, seconds))
                say(f"[{nth}/{len(todo)}] applied  {migration.name}  {_duration(seconds)}")
            return done


def _half_undone(entries: list[Entry]) -> list[Migration]:
    return [entry.migration for entry in entries if entry.state is State.UNDOING and entry.migration]


def _rehearse(connection: Connection, todo: list[Migration], options: Options, say: Say) -> list[Done]:
    """Run everything in one transaction that is rolled back; name what cannot be rehearsed."""
    done = []
    try:
        with connection.transaction(force_rollback=True):
            for migration in todo:
                if not migration.script.transactional:
                    say(f"skipped   {migration.name}: it runs outside a transaction and cannot be rehearsed")
                    done.append(Done(migration.id, 0))
                    continue
                started = time.monotonic()
                _prepare_session(connection, options)
                _run(connection, migration.script, migration.name)
                done.append(Done(migration.id, time.monotonic() - started))
                say(f"rehearsed {migration.name}  {_duration(done[-1].seconds)}")
    except _RETRIED as error:
        raise LockTimeoutError(
            f"A lock was not had in {options.lock_timeout:g} s ({error.diag.message_primary}). Nothing was changed."
        ) from None
    return done


def chosen_for_rollback(entries: list[Entry], *, to: str | None, steps: int | None) -> list[Migration]:
    """Return what a rollback undoes, latest first: everything after `to` (0 means all), or the last `steps`.

    Raises UsageError for an unknown target and RefusedError, by name, where one of them cannot be undone.
    """
    there = [e for e in entries if e.state in (State.APPLIED, State.ADOPTED, State.UNDOING)]
    migrations = [entry.migration for entry in there if entry.migration]
    if steps is not None:
        chosen = migrations[len(migrations) - min(steps, len(migrations)) :]
    elif to and to.strip("0") == "":
        chosen = migrations
    else:
        known = [entry.migration for entry in entries if entry.migration]
        target = find(known, to or "")
        chosen = [migration for migration in migrations if migration.id > target.id]
    chosen.reverse()
    for migration in chosen:
        migration.rollback()
    return chosen


def rollback(
    url: str, migrations: list[Migration], chosen: list[Migration], *, options: Options, say: Say
) -> list[Done]:
    """Undo the chosen migrations, latest first, each in its own transaction.

    Raises RefusedError where the database changed since they were chosen, MigrationFailedError where one fails:
    those undone before it stay undone.
    """
    with (
        database.connect(url, name="portaldb rollback") as connection,
        translated("reading what is applied"),
    ):
        database.require_owner(database.facts(connection))
        database.require_direct(connection, url)
        _prepare_session(connection, options)
        with exclusive(connection, options, say):
            entries = look(connection, migrations, ROLLBACK_REFUSED)
            still = {e.id for e in entries if e.state in (State.APPLIED, State.ADOPTED, State.UNDOING)}
            gone = [migration.id for migration in chosen if migration.id not in still]
            newer = [name for name in still if chosen and name > chosen[0].id]
            if gone or newer:
                raise RefusedError(
                    f"The database changed while you were asked ({', '.join(gone + newer)}). Nothing was undone. "
                    "Run the same command again and read what it shows."
                )
            done = []
            for nth, migration in enumerate(chosen, 1):
                say(f"[{nth}/{len(chosen)}] undoing {migration.name} …", passing=True)
                seconds = _undo(connection, migration, options, say)
                done.append(Done(migration.id, seconds))
                say(f"[{nth}/{len(chosen)}] undone  {migration.name}  {_duration(seconds)}")
            return done


# --- one migration -------------------------------------------------------------------------------------------------


def _apply(connection: Connection, migration: Migration, options: Options, say: Say) -> float:
    _prepare_session(connection, options)
    if not migration.script.transactional:
        return _outside(connection, migration, migration.script, "started", options, say)

    def record(seconds: float) -> None:
        _record(connection, migration, "applied", seconds=seconds)
        _mark(connection, migration, "apply")

    return _attempts(connection, migration, migration.script, record, options, say)


def _undo(connection: Connection, migration: Migration, options: Options, say: Say) -> float:
    script = migration.rollback()
    _prepare_session(connection, options)
    if not script.transactional:
        return _outside(connection, migration, script, "undoing", options, say)

    def record(_seconds: float) -> None:
        _forget(connection, migration)

    return _attempts(connection, migration, script, record, options, say)


def _attempts(
    connection: Connection,
    migration: Migration,
    script: Script,
    record: Callable[[float], None],
    options: Options,
    say: Say,
) -> float:
    """Run a script and its record in one transaction, again and again while only locks stand in the way."""
    until = time.monotonic() + options.retry_for
    pause = 0.25
    while True:
        started = time.monotonic()
        running = _Running()
        try:
            with connection.transaction():
                with connection.pipeline():
                    _prepare_transaction(connection, options)
                    _still_ours(connection)
                _run(connection, script, _file(migration, script), running)
                with connection.pipeline():
                    # The script may have changed the role or the path for its own use.
                    _prepare_transaction(connection, options)
                    record(time.monotonic() - started)
        except _RETRIED as error:
            blockers = _blockers(connection, running.statement)
            where = _where(running.statement, _file(migration, script))
            if time.monotonic() > until:
                _note_failure(connection, migration, script, str(error.diag.message_primary))
                raise LockTimeoutError(
                    f"{_file(migration, script)} did not get a lock in {options.lock_timeout:g} s, tried for "
                    f"{options.retry_for:g} s{where}{blockers}. It left nothing behind; what came before it stays. "
                    "Run the same command again at a quieter time, or end the session that holds the lock."
                ) from None
            say(f"retrying {_file(migration, script)}: no lock within {options.lock_timeout:g} s{where}{blockers}")
            # While we pause, everyone who queued behind our lock request goes on.
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
            pause = min(pause * 2, 8.0)
        except MigrationFailedError as error:
            _note_failure(connection, migration, script, str(error).splitlines()[-1].strip())
            raise
        except psycopg.Error as error:
            raise server_error(error, f"recording {_file(migration, script)}") from None
        else:
            return time.monotonic() - started


@dataclass
class _Running:
    """Which statement is under way, for the message when it fails."""

    statement: Statement | None = None


def _run(connection: Connection, script: Script, name: str, running: _Running | None = None) -> None:
    """Execute a script's statements one by one in the open transaction, and then its deferred constraints.

    Raises MigrationFailedError with file, line and the server's caret. Where our parser does not know the SQL, the
    text goes to the server, which is the judge of it. A pipeline's messages take one statement and no more, so no
    COMMIT can hide in it.
    """
    running = running or _Running()
    unknown = None
    try:
        statements = script.statements
    except UnparsableError as error:
        unknown = error
        statements = (Statement(script.text, 0, 1, {"Unparsed": {}}),)
    if not statements:
        raise MigrationFailedError(f"{name} holds no statement. Write it, or remove the file.")
    for statement in statements:
        if reason := _unfit(statement):
            raise MigrationFailedError(f"{name}, line {statement.line}, {reason} It left nothing behind.")
    sent: list[psycopg.Cursor[Any]] = []
    try:
        # All go on their way at once, which may be long; the server runs them in order, and none after a failure.
        with connection.pipeline():
            for statement in statements:
                sent.append(connection.execute(cast("Any", statement.text)))
            connection.execute(query("engine", "check_deferred"))
    except psycopg.Error as error:
        answered = sum(cursor.pgresult is not None for cursor in sent)
        running.statement = failed = statements[min(answered, len(statements) - 1)]
        if isinstance(error, _RETRIED):
            raise
        if unknown and "multiple commands" in str(error):
            raise MigrationFailedError(
                f"{name} holds several statements, one of them newer than portaldb's parser ({unknown}). It left "
                "nothing behind. Give that statement a file of its own."
            ) from None
        if answered < len(statements):
            raise _failure(error, script, name, failed) from None
        end = replace(failed, offset=failed.offset + len(failed.text))
        raise _failure(error, script, name, end, "the check of deferred constraints") from None


def _unfit(statement: Statement) -> str | None:
    """Say why a statement must not reach the server within a migration's transaction."""
    if statement.kind == "TransactionStmt":
        word = statement.text.split()[0].upper().rstrip(";")
        return (
            f"controls the transaction ({word}), which portaldb does itself so that the SQL and its record are one. "
            "Remove it."
        )
    if statement.kind == "CopyStmt" and not statement.tree["CopyStmt"].get("filename"):
        return "exchanges data with the client (COPY … STDIN or STDOUT), and a file holds none. Use INSERT."
    return None


def _failure(
    error: psycopg.Error, script: Script, name: str, statement: Statement, within: str | None = None
) -> PortalError:
    if is_lost(error):
        return server_error(error, f"running {name}")
    offset = statement.offset
    if error.diag.statement_position:
        offset += int(error.diag.statement_position) - 1
    line = script.text.count("\n", 0, offset) + 1
    start = script.text.rfind("\n", 0, offset) + 1
    text = script.text[start:].split("\n", 1)[0]
    # Tabs stay tabs, so that the caret stands where the terminal shows the place.
    lead = "".join("\t" if each == "\t" else " " for each in script.text[start:offset])
    caret = f"\n    {' ' * (len(str(line)) + 3)}{lead}^" if error.diag.statement_position else ""
    said = (error.diag.message_primary or str(error)).splitlines()[0]
    state = f" ({error.sqlstate})" if error.sqlstate else ""
    hint = f" {error.diag.message_hint.rstrip('.')}." if error.diag.message_hint else ""
    if isinstance(error, psycopg.errors.ObjectNotInPrerequisiteState) and hint:
        # The migration itself has looked, and says what is to be done first.
        return MigrationFailedError(
            f"{name} was not applied, for what it needs is not there yet; what came before it stays. {said}.{hint}"
        )
    within = error.diag.context.splitlines()[0] if error.diag.context else within
    context = f"\n    in {within}" if within else ""
    advice = (
        "The server's disk is full: free space, then run the same command again."
        if isinstance(error, psycopg.errors.DiskFull)
        else "Mend the file and run the same command again."
    )
    return MigrationFailedError(
        f"{name} failed and left nothing behind; what came before it stays. {advice}\n"
        f"    {line} | {text}{caret}{context}\n"
        f"    line {line}: {said}{state}.{hint}"
    )


# --- a migration outside a transaction -----------------------------------------------------------------------------


def _outside(
    connection: Connection, migration: Migration, script: Script, state: str, options: Options, say: Say
) -> float:
    """Run a non-transactional file: record that it began, run its one statement, record that it is done.

    Whatever moment a crash chooses, the next run finds `started` (or `undoing`) and comes to the same end: an index
    left INVALID is dropped and built again, one that stands is kept.
    """
    name = _file(migration, script)
    statement = _one_statement(script, name)
    with translated(f"recording the start of {name}"), connection.transaction():
        _prepare_transaction(connection, options)
        before = connection.execute(query("history", "state_of"), {"id": migration.id}).fetchone()
        if state == "started":
            _record(connection, migration, "started", seconds=0)
        else:
            connection.execute(query("history", "state"), {"id": migration.id, "state": state})
    started = time.monotonic()
    _still_ours(connection)
    resumed = before is not None and before["state"] == state
    _until_locked(connection, migration, script, statement, options, say, resumed=resumed)
    seconds = time.monotonic() - started
    with translated(f"recording {name}"), connection.transaction():
        _prepare_transaction(connection, options)
        if state == "started":
            _record(connection, migration, "applied", seconds=seconds)
            _mark(connection, migration, "apply")
        else:
            _forget(connection, migration)
    return seconds


def _one_statement(script: Script, name: str) -> Statement:
    try:
        statements = script.statements
    except UnparsableError as error:
        line = script.text.count("\n", 0, error.offset) + 1
        raise MigrationFailedError(f"{name}, line {line}: {error}. It was not run. Mend the file.") from None
    kinds = ", ".join(RETRY_SAFE.values())
    if len(statements) != 1 or not _finishable(statements[0]):
        raise RefusedError(
            f"{name} runs outside a transaction and must hold exactly one statement that can be finished after a "
            f"crash ({kinds}). It was not run. Split it, or drop `-- transactional: false`."
        )
    return statements[0]


def _finishable(statement: Statement) -> bool:
    body = statement.tree.get(statement.kind, {})
    if statement.kind == "IndexStmt" and (body.get("if_not_exists") or "idxname" not in body):
        return False  # An index that stands may be another's, and one without a name cannot be found again.
    return statement.kind == "VacuumStmt" or (statement.kind in RETRY_SAFE and bool(body.get("concurrent")))


def _until_locked(
    connection: Connection,
    migration: Migration,
    script: Script,
    statement: Statement,
    options: Options,
    say: Say,
    *,
    resumed: bool,
) -> None:
    name = _file(migration, script)
    until = time.monotonic() + options.retry_for
    # It runs beside traffic, so its waits for older transactions hold up no reader or writer.
    with translated(f"preparing {name}"):
        connection.execute(query("engine", "no_lock_timeout"))
    while True:
        try:
            # Only what an interrupted run of ours left is taken for its work; another's index of that name is not.
            with _saying_who_holds_up(connection, name, say):
                if resumed and _stands_already(connection, statement):
                    return
                connection.execute(cast("Any", statement.text))
        except _RETRIED as error:
            resumed = True
            blockers = _blockers(connection, statement)
            if time.monotonic() > until:
                raise LockTimeoutError(
                    f"{name} did not get its locks, tried for {options.retry_for:g} s: {error.diag.message_primary}"
                    f"{blockers}. It is recorded as begun; the same command goes on from here."
                ) from None
            say(f"retrying {name}: {error.diag.message_primary}{blockers}")
            time.sleep(random.uniform(0.25, 1.0))  # noqa: S311 - jitter, not a secret
        except psycopg.Error as error:
            failure = _failure(error, script, name, statement)
            if not isinstance(failure, ConnectError) and _took_back(connection, statement, error):
                _note_failure(connection, migration, script, str(error.diag.message_primary))
            raise failure from None
        else:
            return


@contextmanager
def _saying_who_holds_up(connection: Connection, name: str, say: Say) -> Iterator[None]:
    """Name the sessions for which a statement without a lock timeout waits, as soon as it waits for long."""
    pid = connection.info.backend_pid
    url = conninfo.make_conninfo(connection.info.dsn, password=connection.info.password or None)
    done = threading.Event()

    def watch() -> None:
        told = ""
        while not done.wait(_LONG):
            # What it cannot see, or when, is no reason to disturb the work.
            with (
                suppress(psycopg.Error, PortalError),
                database.connect(url, name="portaldb: looking for who waits") as other,
            ):
                rows = other.execute(query("engine", "holding_up"), {"pid": pid}).fetchall()
                if rows and _named(rows) != told:
                    say(f"waiting: {name} goes on when this session's transaction ends: {_named(rows, timed=True)}")
                    told = _named(rows)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


_LONG = 3.0
"""Seconds that a statement may wait before it is said for whom."""


def _stands_already(connection: Connection, statement: Statement) -> bool:
    """Say whether an earlier, interrupted run did the work; drop the INVALID index that it may have left."""
    where = _index_of(statement)
    if where is None:
        return False
    found = _index(connection, *where)
    if statement.kind == "DropStmt":
        return found is None
    if found and not found["valid"]:
        connection.execute(psycopg.sql.SQL(query("engine", "drop_index")).format(index=psycopg.sql.Identifier(*where)))
    return bool(found and found["valid"])


def _took_back(connection: Connection, statement: Statement, error: psycopg.Error) -> bool:
    """Take back what a refused statement left, and say whether everything is as before it.

    An index that could not be built (a duplicate key, say) would slow every write and serve nobody; one that could
    not be dropped may be INVALID by now, and the next run drops it.
    """
    where = _index_of(statement)
    if where is None or isinstance(error, psycopg.errors.DuplicateTable):
        return True
    try:
        if statement.kind == "IndexStmt":
            _stands_already(connection, statement)
            return True
        found = _index(connection, *where)
        return found is None or bool(found["valid"])
    except psycopg.Error:
        return False


def _index_of(statement: Statement) -> tuple[str, str] | None:
    """Return the schema and name of the index that a statement builds or drops, None where it does neither."""
    body = statement.tree[statement.kind]
    if statement.kind == "IndexStmt":
        return body["relation"].get("schemaname", "public"), body["idxname"]
    if statement.kind == "DropStmt":
        parts = [each["String"]["sval"] for each in body["objects"][0]["List"]["items"]]
        schema, name = ["public", *parts][-2:]
        return schema, name
    return None


def _index(connection: Connection, schema: str, name: str) -> dict[str, Any] | None:
    quoted = psycopg.sql.Identifier(schema, name).as_string(connection)
    return connection.execute(query("engine", "index_state"), {"name": quoted}).fetchone()


# --- the record ----------------------------------------------------------------------------------------------------


def _ensure_record(connection: Connection) -> None:
    """Make the bookkeeping tables that are missing: yoyo's, as yoyo makes them, and ours beside them."""
    there = connection.execute(query("history", "exists")).fetchone() or {"yoyo": False, "ours": False}
    if there["yoyo"] and there["ours"]:
        return
    with connection.transaction():
        if not there["yoyo"]:
            connection.execute(query("history", "create_yoyo"))
        if not there["ours"]:
            connection.execute(query("history", "create"))


def _record(
    connection: Connection, migration: Migration, state: str, *, seconds: float, message: str | None = None
) -> None:
    connection.execute(
        query("history", "record"),
        {
            "id": migration.id,
            "state": state,
            "checksum": migration.checksum,
            "sql": migration.script.text,
            "seconds": seconds,
            "message": message,
        },
    )


def _mark(connection: Connection, migration: Migration, operation: str, comment: str = "") -> None:
    values = {
        "hash": hashlib.sha256(migration.id.encode()).hexdigest(),  # yoyo's key of a migration
        "id": migration.id,
        "operation": operation,
        "host": socket.gethostname()[:255],
        "comment": comment,
    }
    connection.execute(query("history", "unmark" if operation == "rollback" else "mark"), values)
    connection.execute(query("history", "log"), values)


def _forget(connection: Connection, migration: Migration) -> None:
    connection.execute(query("history", "forget"), {"id": migration.id})
    _mark(connection, migration, "rollback")


def adopt(
    url: str, script: Script | None, judge: Callable[[Connection], list[Migration]], *, options: Options, say: Say
) -> list[Migration]:
    """Run a script as the login, and record as adopted what `judge` then returns, all in one transaction.

    Whatever `judge` raises undoes it all; so does a statement that fails (MigrationFailedError), and a lock that is
    not had in time (LockTimeoutError).
    """
    with (
        database.connect(url, name="portaldb baseline") as connection,
        translated("adopting the database"),
    ):
        database.require_owner(database.facts(connection))
        database.require_direct(connection, url)
        _prepare_session(connection, options)
        running = _Running()
        with exclusive(connection, options, say):
            try:
                with connection.transaction():
                    _prepare_transaction(connection, options)
                    _still_ours(connection)
                    if script:
                        connection.execute(query("engine", "as_login"))
                        _run(connection, script, script.path.name, running)
                        _prepare_transaction(connection, options)
                    _ensure_record(connection)
                    adopted = judge(connection)
                    for migration in adopted:
                        _record(connection, migration, "adopted", seconds=0)
                        _mark(connection, migration, "mark", "adopted by portaldb baseline")
            except _RETRIED as error:
                where = _where(running.statement, script.path.name) if script else ""
                raise LockTimeoutError(
                    f"A lock was not had in {options.lock_timeout:g} s{where} ({error.diag.message_primary})"
                    f"{_blockers(connection, running.statement)}. Everything was rolled back. Run the same command "
                    "again at a quieter time, or with a longer --lock-timeout."
                ) from None
    return adopted


def _note_failure(connection: Connection, migration: Migration, script: Script, message: str) -> None:
    """Leave word of a failed attempt for `status`; the failure itself matters more than this note of it."""
    undoing = script is not migration.script
    if undoing and script.transactional:
        return  # A failed rollback leaves its migration applied, which is what the record says.
    try:
        with connection.transaction():
            _prepare_transaction(connection, Options())
            if undoing:
                connection.execute(query("history", "state"), {"id": migration.id, "state": "applied"})
                return
            _record(connection, migration, "failed", seconds=0, message=message[:500])
    except psycopg.Error:
        return


# --- small things --------------------------------------------------------------------------------------------------


def _prepare_session(connection: Connection, options: Options) -> None:
    """Give every migration the same session, whatever its login, its environment or the one before it set."""
    connection.execute(query("engine", "forget_session"))
    connection.execute(
        query("engine", "prepare_session"), {"lock_timeout": _milliseconds(options.lock_timeout), "owner": OWNER}
    )


def _prepare_transaction(connection: Connection, options: Options) -> None:
    connection.execute(
        query("engine", "prepare_transaction"), {"lock_timeout": _milliseconds(options.lock_timeout), "owner": OWNER}
    )


def _still_ours(connection: Connection) -> None:
    """Raise where the engine lock is not held by the backend that is about to work: a pooler moved us."""
    if not _row(connection, "holds_lock", key=LOCK_KEY)["held"]:
        raise RefusedError(
            "The server process under this connection changed, so a pooler stands in between. Nothing more was "
            "changed. Connect to the server itself."
        )


def _blockers(connection: Connection, statement: Statement | None) -> str:
    """Name who holds locks on the relations of a statement that did not get its own."""
    if statement is None or connection.broken:
        return ""
    names = relations(statement.tree)
    try:
        with connection.transaction():
            # As the login and not as the owner: it may be allowed to see more of the other sessions.
            connection.execute(query("engine", "as_login"))
            rows = connection.execute(query("engine", "blockers"), {"relations": names}).fetchall()
    except psycopg.Error:
        return ""
    return f"; held by {_named(rows, timed=True)}" if rows else ""


def _named(rows: list[dict[str, Any]], *, timed: bool = False) -> str:
    """Name sessions for a message; `timed` adds for how long their transactions have lasted."""
    return ", ".join(
        f"process {row['pid']} ({row['username']}, {row['application_name'] or 'unnamed'}, "
        f"{row['state'] or 'state not shown to this login'}"
        + (f", in a transaction for {row['seconds'] or 0:.0f} s)" if timed else ")")
        for row in rows
    )


def relations(tree: object) -> list[str]:
    """Return the quoted names of every relation that a parse tree mentions."""
    found: dict[str, None] = {}

    def walk(node: object) -> None:
        if isinstance(node, dict):
            if "relname" in node:
                schema, name = node.get("schemaname", "public"), node["relname"]
                found['"{}"."{}"'.format(schema.replace('"', '""'), name.replace('"', '""'))] = None
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            # DROP names its objects as lists of strings.
            words = [each["String"]["sval"] for each in node if isinstance(each, dict) and "String" in each]
            if words and len(words) == len(node):
                found[".".join('"{}"'.format(word.replace('"', '""')) for word in words)] = None
            for value in node:
                walk(value)

    walk(tree)
    return list(found)


def _where(statement: Statement | None, name: str) -> str:
    if statement is None:
        return ""
    first = " ".join(statement.text.split())
    return f", at line {statement.line} ({first[:60]}{'…' if len(first) > 60 else ''})"  # noqa: PLR2004


def _file(migration: Migration, script: Script) -> str:
    return f"{migration.folder}/{script.path.name}"


def _row(connection: Connection, name: str, **values: object) -> dict[str, Any]:
    row = connection.execute(query("engine", name), values).fetchone()
    assert row is not None  # noqa: S101 - these queries have one row always
    return row


def _milliseconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
