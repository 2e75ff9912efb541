"""`portaldb backup`: the dump, the roles and the manifest of one snapshot, put in place when all of it is whole."""

import errno
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from psycopg import sql

from portaldb import __version__, database
from portaldb.backup import clients, contents, record
from portaldb.backup.clients import Clients
from portaldb.backup.contents import Sight
from portaldb.backup.record import File, Manifest, Role, Table
from portaldb.bootstrap import ROLES
from portaldb.database import Connection, query
from portaldb.errors import PortalError, RefusedError, UsageError

Watch = Callable[[int, int], None]
"""Told how many bytes of the tables are done, and how many there are."""

_UNFINISHED = ".unfinished_backup_"


@dataclass(frozen=True)
class Options:
    """How a backup is made: `custom` is one file, `directory` a folder that `jobs` processes write at once."""

    format: str = "directory"
    jobs: int = 2
    plain: bool = False
    """Beside the dump, the schema and the rows as SQL, as the schema document has them."""
    compress: int | None = None
    keep: int | None = None


@dataclass(frozen=True)
class Made:
    """A backup that was made, and what retention removed."""

    manifest: Manifest
    folder: Path
    removed: list[str]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return it for a JSON report."""
        return {
            "manifest": str(self.folder / record.manifest_name(self.manifest.date)),
            "dump": str(self.folder / record.dump_name(self.manifest.date)),
            "date": self.manifest.date,
            "database": self.manifest.database,
            "tables": len(self.manifest.tables),
            "rows": self.manifest.rows,
            "bytes": self.manifest.bytes,
            "seconds": round(self.seconds, 3),
            "removed": self.removed,
        }


def make(url: str, folder: Path, options: Options, watch: Watch) -> Made:
    """Back up a database into a folder.

    Raises UsageError for a folder that is not there, RefusedError where rows would be missing or the folder cannot be
    written, EnvironmentMissingError without pg_dump, PortalError where it fails; nothing is left in the folder then.
    """
    began = time.monotonic()
    with database.connect(url, name="portaldb backup") as connection:
        database.require_direct(connection, url)
        with database.translated("looking at the database"):
            connection.execute(query("backup", "prepare"))
            who = connection.execute(query("backup", "who")).fetchone()
        assert who is not None  # noqa: S101 - a login is a role
        programs = clients.find(who["version"] // 10000)
        with _unfinished(folder) as work:
            with database.reading(connection):
                seen = contents.sight(connection, who)
                row = connection.execute(query("backup", "snapshot")).fetchone()
                snapshot = row["id"] if row else ""
                date = _free_date(folder)
                dump = _Dump(programs, clients.pinned(url, connection), snapshot, seen, options)
                tables = dump.full(work / record.dump_name(date), connection, watch)
                if options.plain:
                    dump.plain(work / f"schema_{date}.sql", "--schema-only")
                    dump.plain(work / f"data_{date}.sql", "--data-only")
                manifest = _describe(connection, date, who, programs, tables)
            return _put(manifest, work, folder, options.keep, began)


class _Dump:
    """pg_dump, of one snapshot."""

    def __init__(self, programs: Clients, url: str, snapshot: str, seen: Sight, options: Options) -> None:
        self._programs, self._url, self._options = programs, url, options
        self._words = [f"--snapshot={snapshot}", "--exclude-table-data=cron.*"]
        self._words += [f"--role={seen.role}"] if seen.role else []
        # Without this pg_dump fails where a policy would hide a row, which is what is wanted everywhere else.
        self._words += ["--enable-row-security"] if seen.through_policies else []

    def full(self, target: Path, connection: Connection, watch: Watch) -> list[Table]:
        """Write the dump, and count and hash the tables meanwhile."""
        options = self._options
        words = [f"--format={options.format}", f"--file={target}"]
        words += [f"--jobs={options.jobs}"] if options.format == "directory" else []
        words += [f"--compress={options.compress}"] if options.compress is not None else []
        with self._run(*words) as process:

            def still_running(done: int, total: int) -> None:
                if process.failed():  # nobody waits for the count of what was not dumped
                    self._finish(process, "Dumping the database")
                watch(done, total)

            tables = contents.take(connection, still_running)
            self._finish(process, "Dumping the database")
        return tables

    def plain(self, target: Path, what: str) -> None:
        """Write SQL."""
        with self._run(what, f"--file={target}") as process:
            self._finish(process, f"Writing {target.name}")

    @contextmanager
    def _run(self, *words: str) -> Iterator["_Running"]:
        argv = self._programs.argv("pg_dump", self._url, *self._words, *words)
        running = _Running(argv, clients.environment(self._url))
        try:
            yield running
        finally:
            running.end()

    @staticmethod
    def _finish(process: "_Running", doing: str) -> None:
        status = process.wait()
        if status:
            raise clients.failed("pg_dump", doing, process.stderr, status, "No backup was made; the others are whole.")


class _Running:
    """A program whose standard error is read while it runs, so that it never waits for us."""

    def __init__(self, argv: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self.stderr = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - it is a pipe
        for line in self._process.stderr:
            self.stderr = (self.stderr + line.decode(errors="replace"))[-20_000:]

    def failed(self) -> bool:
        """Say whether it has ended, and badly."""
        return bool(self._process.poll())

    def wait(self) -> int:
        """Wait for its end and return its status."""
        status = self._process.wait()
        self._reader.join()
        return status

    def end(self) -> None:
        """End it where it still runs: what it writes is not wanted any more."""
        if self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """Give a folder inside the folder, gone at the end; those that killed backups have left are removed first."""
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}. Make it first: mkdir -p -m 700 {folder}")
    try:
        for left in folder.glob(f"{_UNFINISHED}*"):
            with _claimed(left) as ours:
                if ours:
                    shutil.rmtree(left, ignore_errors=True)
        # mkdtemp makes it for its owner alone.
        work = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder))
    except OSError as error:
        raise RefusedError(f"The folder {folder} cannot be written: {error.strerror}. No backup was made.") from None
    try:
        with _claimed(work):
            yield work
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG):
            raise
        raise PortalError(
            f"Writing into {folder} failed: {error.strerror}. No backup was made; the others are whole. Free space "
            "on that disk, or name another folder with --folder."
        ) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _claimed(folder: Path) -> Iterator[bool]:
    """Lock a folder as long as this process lives; yields False where another holds it, or it is gone."""
    try:
        number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(number)


def _free_date(folder: Path) -> str:
    """Return the date of a new backup, to the second in local time as the schema document has it."""
    while True:
        date = f"{datetime.now():%Y%m%d_%H%M%S}"
        if not (folder / record.dump_name(date)).exists() and not (folder / record.manifest_name(date)).exists():
            return date
        time.sleep(0.2)


def _describe(
    connection: Connection, date: str, who: dict[str, Any], programs: Clients, tables: list[Table]
) -> Manifest:
    names = [row["name"] for row in connection.execute(query("backup", "roles_named")).fetchall()]
    ours = [role.name for role in ROLES]
    roles = connection.execute(query("backup", "roles"), {"names": sorted({*ours, *names})}).fetchall()
    there = connection.execute(query("backup", "has_record")).fetchone()
    applied = connection.execute(query("backup", "applied")).fetchall() if there and there["there"] else []
    now = connection.execute(query("backup", "now")).fetchone()
    return Manifest(
        date=date,
        database=who["database"],
        system=who["system"],
        taken_at=now["now"] if now else "",
        server=who["version"],
        clients=programs.version,
        portaldb=__version__,
        migrations=[f"{row['id']} {row['checksum']}" for row in applied],
        roles_named=names,
        tables=tables,
        roles=[Role(**row) for row in roles],
    )


def _put(manifest: Manifest, work: Path, folder: Path, keep: int | None, began: float) -> Made:
    """Give everything its name, on the disk before its name is, and the manifest its own last."""
    (work / f"roles_{manifest.date}.sql").write_text(roles_sql(manifest.roles), encoding="utf-8")
    files = [
        File(str(path.relative_to(work)), path.stat().st_size, record.sha256(path)) for path in record.files_below(work)
    ]
    manifest = replace(manifest, files=files)
    last = work / record.manifest_name(manifest.date)
    last.write_text(record.render(manifest), encoding="utf-8")
    for path in record.files_below(work):
        path.chmod(0o600)
        with path.open("rb") as file:
            os.fsync(file.fileno())
    for each in (path for path in work.rglob("*") if path.is_dir()):
        each.chmod(0o700)
        record.sync_folder(each)
    with _turn(folder):
        for path in sorted(work.iterdir(), key=lambda each: each == last):
            target = folder / path.name
            if target.exists():
                raise RefusedError(f"{target} is there already; nothing was overwritten. Run the same command again.")
            path.rename(target)
            record.sync_folder(folder)
        removed = _retire(folder, manifest, keep) if keep else []
    return Made(manifest, folder, removed, time.monotonic() - began)


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Let one backup at a time give names in a folder."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def _retire(folder: Path, newest: Manifest, keep: int) -> list[str]:
    """Remove the complete backups of the same database beyond the latest `keep`, and nothing else.

    A manifest goes first: what is left then is no backup any more.
    """
    mine = []
    for date in record.complete(folder):
        with suppress(PortalError):  # a damaged one is left for a person to look at
            found = record.read(folder / record.manifest_name(date))
            if (found.database, found.system) == (newest.database, newest.system):
                mine.append(found)
    removed = []
    for old in sorted(mine, key=lambda each: (each.taken_at, each.date))[:-keep]:
        (folder / record.manifest_name(old.date)).unlink(missing_ok=True)
        for name in {Path(file.name).parts[0] for file in old.files}:
            path = folder / name
            if not re.fullmatch(rf"(full_backup|schema|data|roles)_{old.date}\.(dump|sql)", name):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        removed.append(old.date)
    return removed


def roles_sql(roles: list[Role]) -> str:
    """Return the statements that make roles: those that are granted to others first, without passwords."""
    lines = ["-- The roles that the database names, and their members. Passwords are not kept: set them anew."]
    lines += [text for role in roles for text in statements(role)]
    names = {role.name for role in roles}
    for role in roles:
        known = [other for other in role.member_of if other in names or other.startswith("pg_")]
        lines += [grant(other, role.name) for other in known]
    return "\n".join(lines) + "\n"


def statements(role: Role) -> list[str]:
    """Return the statements that make one role."""
    name = sql.Identifier(role.name)
    made = [sql.SQL("CREATE ROLE {} {};").format(name, sql.SQL(role.attributes)).as_string(None)]
    if role.comment:
        made.append(sql.SQL("COMMENT ON ROLE {} IS {};").format(name, sql.Literal(role.comment)).as_string(None))
    return made


def grant(role: str, member: str) -> str:
    """Return the statement that makes one role a member of another."""
    return sql.SQL("GRANT {} TO {};").format(sql.Identifier(role), sql.Identifier(member)).as_string(None)
