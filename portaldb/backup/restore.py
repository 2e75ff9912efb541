"""`portaldb restore`: a backup into a database that `init` has made, checked before and compared afterwards.

Into an empty database several processes load at once. Over what is there, and where rows alone are loaded, it is one
transaction, so that the database is as it was or as the backup has it.
"""

import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import psycopg
from psycopg import sql

from portaldb import database
from portaldb.backup import clients, contents, make, record
from portaldb.backup.clients import Clients
from portaldb.backup.contents import RECORD, SEEDED
from portaldb.backup.record import Manifest
from portaldb.database import OWNER, Connection, query
from portaldb.errors import DamagedError, RefusedError, RightsError

Say = Callable[[str], None]
Watch = Callable[[int, int], None]

_LEFT_OUT = re.compile(
    r"^\d+; \d+ \d+ (?:"
    r"EXTENSION - |COMMENT - EXTENSION "  # init made them, and they may belong to a superuser
    r"|SCHEMA - cron |ACL - SCHEMA cron |[A-Z ]+ cron "  # pg_cron's: the registry says what it runs
    r")"
)
_LAST = re.compile(r"^\d+; \d+ \d+ (?:ROW SECURITY|POLICY|COMMENT \S+ POLICY|ACL|DEFAULT ACL) ")
"""Who may see what: after everything that must see everything. pg_restore itself puts ACLs after all else."""

_ENTRY = re.compile(r"^\d+; \d+ \d+ ")
_TABLE_DATA = re.compile(r"^\d+; \d+ \d+ TABLE DATA (\S+) (\S+) ")


@dataclass(frozen=True)
class Options:
    """What a restore may do."""

    clean: bool = False
    data_only: bool = False
    roles: bool = False
    jobs: int = 2


@dataclass(frozen=True)
class Planned:
    """A restore that nothing speaks against: what it reads, and what it would remove from the target."""

    manifest: Manifest
    folder: Path
    url: str
    options: Options
    programs: Clients
    removes: list[str]
    missing_roles: list[str]

    @property
    def dump(self) -> Path:
        """The dump."""
        return self.folder / record.dump_name(self.manifest.date)


@dataclass
class Restored:
    """What a restore did."""

    manifest: Manifest
    seconds: float = 0
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it for a JSON report."""
        return {
            "date": self.manifest.date,
            "from": self.manifest.database,
            "tables": len(self.manifest.tables),
            "rows": self.manifest.rows,
            "seconds": round(self.seconds, 3),
            "notes": self.notes,
        }


def plan(url: str, path: Path, options: Options, watch: Watch) -> Planned:
    """Check the backup and the target, and change nothing.

    Raises DamagedError for a backup that is not whole, RefusedError for a target that is not empty or not ready.
    """
    where = record.locate(path)
    manifest, folder = record.read(where), where.parent
    record.check(manifest, folder, watch)
    with database.connect(url, name="portaldb restore") as connection:
        database.require_owner(database.facts(connection))
        database.require_direct(connection, url)
        url = clients.pinned(url, connection)
        version = connection.info.server_version
        wanted = max(version // 10000, int(manifest.clients.split(".")[0]))
        programs = clients.find(wanted)
        with database.reading(connection):
            missing = connection.execute(query("backup", "missing_roles"), {"names": manifest.roles_named}).fetchall()
            removes = _removes(connection, manifest, options)
    names = [row["name"] for row in missing]
    if names and not options.roles:
        raise RefusedError(
            f"The server has no role {', '.join(names)}, which the backup names. Nothing was changed. Make them: with "
            f"--roles, or from {folder / f'roles_{manifest.date}.sql'}; without passwords, which no backup holds."
        )
    if version // 10000 < manifest.server // 10000:
        raise RefusedError(
            f"The backup is of PostgreSQL {manifest.server // 10000}, and the server is {version // 10000}. Nothing "
            "was changed. Restore into a server that is not older."
        )
    return Planned(manifest, folder, url, options, programs, removes, names)


def _removes(connection: Connection, manifest: Manifest, options: Options) -> list[str]:
    """Return what a restore would remove; raise where that is not to be, or the target does not fit."""
    found = connection.execute(query("backup", "objects")).fetchall()
    if options.data_only:
        _require_same(connection, manifest)
        names = sorted({table.root for table in manifest.tables} - set(RECORD))
        full = [name for name in names if name not in SEEDED and _has_rows(connection, name)]
        if full and not options.clean:
            raise RefusedError(
                f"The target has rows in {_some(full)}. Nothing was changed. With --clean they are replaced by the "
                "backup's, in one transaction."
            )
        return [f"the rows of {name}" for name in full]
    if found and not options.clean:
        raise RefusedError(
            f"The target is not empty: it has {_some([row['name'] for row in found])}. Nothing was changed. Restore "
            "into an empty database (portaldb init makes one under any name), or add --clean to replace what is there."
        )
    return [f"{row['kind'].lower()} {row['name']}" for row in found]


def _require_same(connection: Connection, manifest: Manifest) -> None:
    there = connection.execute(query("backup", "has_record")).fetchone()
    rows = connection.execute(query("backup", "applied")).fetchall() if there and there["there"] else []
    applied, due = {f"{row['id']} {row['checksum']}" for row in rows}, set(manifest.migrations)
    if applied != due:
        odd = sorted(applied ^ due)[0].split(" ")[0]
        raise RefusedError(
            f"Rows alone fit a database with the same migrations, and {odd} is in one of the two only, or with another "
            "text. Nothing was changed. Restore the whole backup into an empty database, then: portaldb migrate"
        )


def _has_rows(connection: Connection, name: str) -> bool:
    if not connection.execute(query("backup", "present"), {"tables": [name]}).fetchone():
        return False
    text = sql.SQL(query("backup", "any_row")).format(table=sql.Identifier(*name.split(".", 1)))
    row = connection.execute(text).fetchone()
    return bool(row and row["there"])


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown  # noqa: PLR2004 - what a sentence holds


def restore(planned: Planned, say: Say, watch: Watch) -> Restored:
    """Do what was planned, and compare what is there then with the manifest.

    Raises PortalError where pg_restore fails, DamagedError where the content is not the backup's.
    """
    began, done = time.monotonic(), Restored(planned.manifest)
    with database.connect(planned.url, name="portaldb restore") as connection:
        connection.execute(query("backup", "prepare"))
        _make_roles(connection, planned, say)
        with database.translated("restoring"):
            contents.become(connection, OWNER)
            if planned.options.data_only:
                _load_rows(connection, planned, say)
            elif planned.removes:
                _replace(connection, planned, say)
            else:
                _load(connection, planned, say)
            _finish(connection, planned, done, say)
            _compare(connection, planned, watch)
    done.seconds = time.monotonic() - began
    return done


def _make_roles(connection: Connection, planned: Planned, say: Say) -> None:
    """Make the roles that the backup names and the server has not got; those that are there stay as they are."""
    known = {role.name: role for role in planned.manifest.roles}
    for name in planned.missing_roles:
        if name not in known:
            raise RefusedError(f"The backup names the role {name}, a superuser, which is yours to make.")
        role = known[name]
        groups = [other for other in role.member_of if other in known or other.startswith("pg_")]
        try:
            for text in [*make.statements(role), *(make.grant(other, name) for other in groups)]:
                connection.execute(text.encode())
        except psycopg.errors.InsufficientPrivilege as error:
            raise RightsError(
                f"The login may not make the role {name}: {error.diag.message_primary}. Let a superuser run "
                f"{planned.folder / f'roles_{planned.manifest.date}.sql'}."
            ) from None
        say(f"made the role {name}, without a password")


def _load(connection: Connection, planned: Planned, say: Say) -> None:
    """Load into an empty database, with several processes, and open it in one transaction at the very end.

    That transaction has the policies, the grants and the record of migrations. Before it nobody but the owner reaches
    the schema, and a restore that was cut short looks like a database that nobody has migrated.
    """
    entries = _entries(planned)
    last = [entry for entry in entries if _LAST.match(entry) or _table_of(entry) in RECORD]
    kept = set(last)
    after = "The database is half restored, and closed to services: run the same command with --clean."
    connection.execute(query("backup", "close"))
    connection.execute(query("backup", "may_create"))
    try:
        with _list(entry for entry in entries if entry not in kept) as chosen:
            say(f"loading with {planned.options.jobs} processes")
            _pg_restore(planned, after, f"--use-list={chosen}", f"--jobs={planned.options.jobs}")
        say("policies, grants and the record of migrations, in one transaction")
        with _list(last) as chosen, _Script(planned, after) as script:
            script.write("BEGIN;", f"SET ROLE {OWNER};", f"{query('backup', 'open')};")
            script.dump(f"--use-list={chosen}")
            script.write("RESET ROLE;", f"SET ROLE {OWNER};", f"{query('backup', 'may_create_no_more')};", "COMMIT;")
    finally:
        with suppress(psycopg.OperationalError):
            connection.execute(query("backup", "may_create_no_more"))


def _replace(connection: Connection, planned: Planned, say: Say) -> None:
    """Remove what is there and restore, in one transaction."""
    before = ["BEGIN;", f"SET ROLE {OWNER};", *_drops(connection)]
    before += [f"{query('backup', name)};" for name in ("open", "may_create")]
    after = ["RESET ROLE;", f"SET ROLE {OWNER};", f"{query('backup', 'may_create_no_more')};"]
    say("replacing what is there, in one transaction")
    # A foreign key is checked by reading both tables, which a policy would stop.
    entries = sorted(_entries(planned), key=lambda entry: bool(_LAST.match(entry)))
    with _list(entries) as chosen, _Script(planned) as script:
        script.write(*before)
        script.dump(f"--use-list={chosen}")
        script.write(*after, "COMMIT;")


def _drops(connection: Connection) -> list[str]:
    """Return the statements that remove what stands in the schemas of people, and nothing of an extension."""
    rows = connection.execute(query("backup", "objects")).fetchall()
    schemas = connection.execute(query("backup", "schemas")).fetchall()
    texts = ["SET client_min_messages = warning;"]
    texts += [f"DROP {row['kind']} IF EXISTS {row['name']} CASCADE;" for row in rows]
    texts += [sql.SQL("DROP SCHEMA {} CASCADE;").format(sql.Identifier(row["name"])).as_string(None) for row in schemas]
    return texts


def _load_rows(connection: Connection, planned: Planned, say: Say) -> None:
    """Load rows alone, in one transaction, into tables that are there.

    COPY refuses a table whose policies hold its owner, so FORCE is lifted, and the tables' own triggers with it; both
    are put back before the transaction ends, and nobody else sees the tables in between: they are locked.
    """
    tables = [table for table in planned.manifest.tables if table.root not in RECORD]
    names = {"tables": sorted({name for table in tables for name in (table.name, table.root)})}
    there = {row["name"] for row in connection.execute(query("backup", "present"), names).fetchall()}
    gone = sorted({table.root for table in tables if table.rows and table.root not in there})
    if gone:
        raise RefusedError(f"The target has no table {_some(gone)}, whose rows the backup holds. Nothing was changed.")
    guarded = [_quoted(row["name"]) for row in connection.execute(query("backup", "guarded"), names).fetchall()]
    triggers = connection.execute(query("backup", "triggers"), names).fetchall()
    roots = sorted({_quoted(table.root) for table in tables if table.root in there})
    touched = sorted({_quoted(row["on_table"]) for row in triggers})
    before = ["BEGIN;", f"SET ROLE {OWNER};", f"LOCK TABLE {', '.join(roots)} IN ACCESS EXCLUSIVE MODE;"]
    before += [f"ALTER TABLE ONLY {name} NO FORCE ROW LEVEL SECURITY;" for name in guarded]
    before += [f"ALTER TABLE ONLY {name} DISABLE TRIGGER USER;" for name in touched]
    before += [f"TRUNCATE {', '.join(roots)};"]
    after = [f"ALTER TABLE ONLY {_quoted(row['on_table'])} {row['state']} {row['name']};" for row in triggers]
    after += [f"ALTER TABLE ONLY {name} FORCE ROW LEVEL SECURITY;" for name in guarded]
    data = {_table_of(entry): entry for entry in _entries(planned) if _table_of(entry)}
    say("loading rows, in one transaction")
    with _Script(planned) as script:
        script.write(*before)
        for table in _in_order(connection, tables):
            if not table.rows:
                continue
            # A partition of another month may not be there: its rows find their own place.
            instead = None if table.name in there else _quoted(table.root)
            with _list([data[table.name]]) as chosen:
                script.dump(f"--use-list={chosen}", "--data-only", into=instead)
            script.write("RESET ROLE;", f"SET ROLE {OWNER};")
        script.write(*after, "COMMIT;")


def _in_order(connection: Connection, tables: list[record.Table]) -> list[record.Table]:
    """Return tables so that rows come after those that they refer to; raise where tables refer in a circle."""
    needs: dict[str, set[str]] = {}
    for row in connection.execute(query("backup", "references")).fetchall():
        needs.setdefault(row["child"], set()).add(row["parent"])
    ordered: list[record.Table] = []
    left = list(tables)
    while left:
        waiting = {table.root for table in left}
        ready = [table for table in left if not (needs.get(table.root, set()) & waiting)]
        if not ready:
            raise RefusedError(
                f"The tables {', '.join(sorted(waiting))} refer to each other in a circle, so rows alone cannot be "
                "loaded. Nothing was changed. Restore the whole backup."
            )
        ordered += ready
        left = [table for table in left if table not in ready]
    return ordered


def _finish(connection: Connection, planned: Planned, done: Restored, say: Say) -> None:
    """Bring the scheduler to what the registry says, and give the planner its figures."""
    row = connection.execute(query("backup", "has_sync")).fetchone()
    if row and row["there"]:
        try:
            connection.execute(query("backup", "sync"))
        except psycopg.Error as error:
            done.notes.append(f"The jobs were not put into pg_cron: {error.diag.message_primary}.")
    say("analysing the tables")
    connection.execute(query("backup", "analyze"))


def _compare(connection: Connection, planned: Planned, watch: Watch) -> None:
    """Hold every table to the manifest; raise DamagedError with what differs."""
    say_of = RECORD if planned.options.data_only else ()
    with database.reading(connection):
        found = contents.take(connection, watch)
    if faults := contents.differences(planned.manifest.tables, found, say_of):
        raise DamagedError(
            f"What was restored is not what the backup holds: {_some(faults)}. Do not use this database. Where it is "
            "not in use yet, look whether somebody writes to it, and restore again with --clean."
        )


def _entries(planned: Planned) -> list[str]:
    """Return the dump's list of contents, without what is the server's own."""
    argv = planned.programs.argv("pg_restore", None, "--list", str(planned.dump))
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=clients.environment(planned.url))
    if done.returncode:
        raise DamagedError(f"pg_restore cannot read {planned.dump}: {clients.said(done.stderr)}. Nothing was changed.")
    lines = [line for line in done.stdout.splitlines() if _ENTRY.match(line)]
    return [line for line in lines if not _LEFT_OUT.match(line)]


def _table_of(entry: str) -> str | None:
    found = _TABLE_DATA.match(entry)
    return f"{found[1]}.{found[2]}" if found else None


def _quoted(name: str) -> str:
    """Return a table's name for a statement."""
    return sql.Identifier(*name.split(".", 1)).as_string(None)


@contextmanager
def _list(entries: Iterable[str]) -> Iterator[Path]:
    """Give a file with a list of contents for pg_restore."""
    with tempfile.NamedTemporaryFile("w", prefix="portaldb-list-", suffix=".txt") as file:
        file.write("\n".join(entries) + "\n")
        file.flush()
        yield Path(file.name)


def _pg_restore(planned: Planned, after: str, *words: str) -> None:
    argv = planned.programs.argv(
        "pg_restore", planned.url, f"--role={OWNER}", "--exit-on-error", *words, str(planned.dump)
    )
    done = subprocess.run(
        argv,
        env=clients.environment(planned.url),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise clients.failed("pg_restore", "Restoring", done.stderr.decode(errors="replace"), done.returncode, after)


class _Script:
    """psql, given a transaction piece by piece: without its COMMIT, whatever ends it, nothing was done."""

    def __init__(self, planned: Planned, after: str = "Nothing was changed.") -> None:
        self._planned, self._after = planned, after
        argv = planned.programs.argv("psql", planned.url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-")
        self._process = subprocess.Popen(
            argv,
            env=clients.environment(planned.url),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        assert self._process.stdin is not None  # noqa: S101 - it is a pipe
        self._stdin: IO[bytes] = self._process.stdin
        self._stderr = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stderr is not None  # noqa: S101 - it is a pipe
        for line in self._process.stderr:
            self._stderr = (self._stderr + line)[-20_000:]

    def __enter__(self) -> "_Script":
        return self

    def write(self, *texts: str) -> None:
        """Give it statements."""
        self._send("".join(f"{text}\n" for text in texts).encode())

    def dump(self, *words: str, into: str | None = None) -> None:
        """Give it what pg_restore makes of a part of the dump; with `into`, that table's rows go into another one."""
        planned = self._planned
        argv = planned.programs.argv("pg_restore", None, f"--role={OWNER}", "--file=-", *words, str(planned.dump))
        with subprocess.Popen(
            argv, env=clients.environment(planned.url), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as made:
            assert made.stdout is not None  # noqa: S101 - it is a pipe
            assert made.stderr is not None  # noqa: S101 - it is a pipe
            try:
                while into and (line := made.stdout.readline()):
                    if line.startswith(b"COPY "):
                        line = re.sub(rb"^COPY \S+", f"COPY {into}".encode(), line)
                        into = None
                    self._send(line)
                shutil.copyfileobj(made.stdout, self._stdin, 1 << 20)
            except BrokenPipeError:
                made.kill()
                self._failed()
            except BaseException:
                made.kill()
                raise
            said = made.stderr.read().decode(errors="replace")
        if made.returncode:
            self.abandon()
            raise clients.failed("pg_restore", "Restoring", said, made.returncode, self._after)

    def _send(self, text: bytes) -> None:
        try:
            self._stdin.write(text)
            self._stdin.flush()
        except BrokenPipeError:
            self._failed()

    def _failed(self) -> None:
        status = self._process.wait()
        self._reader.join()
        said = self._stderr.decode(errors="replace")
        raise clients.failed("psql", "Restoring", said, status, self._after)

    def abandon(self) -> None:
        """End it before its COMMIT."""
        self._process.kill()
        self._process.wait()

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        if kind:
            self.abandon()
            with suppress(OSError):
                self._stdin.close()
            return
        with suppress(BrokenPipeError):
            self._stdin.close()
        if self._process.wait():
            self._failed()
