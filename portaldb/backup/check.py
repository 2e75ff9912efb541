"""`portaldb backup verify`: every checksum, then a restore into a database of its own, compared and dropped."""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from portaldb import bootstrap, database, drift
from portaldb.backup import record, restore
from portaldb.backup.record import Manifest
from portaldb.database import query
from portaldb.drift import Difference
from portaldb.errors import RightsError
from portaldb.source import Migration

Say = Callable[[str], None]
Watch = Callable[[int, int], None]


@dataclass(frozen=True)
class Checked:
    """What a check found: the backup is whole, and where it was restored, what of it is not as migrations make it."""

    manifest: Manifest
    restored: bool
    differences: list[Difference]
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Return it for a JSON report."""
        return {
            "date": self.manifest.date,
            "database": self.manifest.database,
            "files": len(self.manifest.files),
            "bytes": self.manifest.bytes,
            "tables": len(self.manifest.tables),
            "rows": self.manifest.rows,
            "restored": self.restored,
            "drift": [each.as_dict() for each in self.differences],
            "seconds": round(self.seconds, 3),
        }


def checksums(path: Path, watch: Watch) -> Checked:
    """Hold every file to its checksum; raise DamagedError where one is not whole."""
    began = time.monotonic()
    where = record.locate(path)
    manifest = record.read(where)
    record.check(manifest, where.parent, watch)
    return Checked(manifest, False, [], time.monotonic() - began)


def verify(url: str, path: Path, migrations: list[Migration], *, jobs: int, say: Say, watch: Watch) -> Checked:
    """Restore a backup into a database of its own on a server, compare it, and drop it.

    Raises DamagedError where it is not what the manifest says, RightsError for a login that makes no databases.
    """
    began = time.monotonic()
    manifest = checksums(path, watch).manifest
    with _scratch(url, say) as target:
        options = restore.Options(roles=True, jobs=jobs)
        restore.restore(restore.plan(target, path, options, lambda _done, _total: None), say, watch)
        found: list[Difference] = []
        if manifest.migrations:
            with database.connect(target, name="portaldb backup verify") as connection, database.reading(connection):
                found = drift.look(connection, migrations, ()).differences
    return Checked(manifest, True, found, time.monotonic() - began)


@contextmanager
def _scratch(url: str, say: Say) -> Iterator[str]:
    """Make a database with `init`, and drop it whatever happens."""
    name = f"portaldb_backup_{secrets.token_hex(4)}"
    target = database.with_database(url, name)
    say(f"restoring into the database {name}, which is dropped afterwards")
    with database.connect(database.with_database(url, "postgres"), name="portaldb backup verify") as server:
        try:
            locale = server.execute(query("backup", "locale")).fetchone()
            bootstrap.init(target, locale=locale["name"] if locale else "C", dry_run=False, wait=0, say=lambda _: None)
            yield target
        except RightsError as error:
            raise RightsError(f"{error} (or look at the checksums alone, with --checksums)") from None
        finally:
            with suppress(psycopg.OperationalError):
                server.execute(sql.SQL(query("backup", "drop")).format(database=sql.Identifier(name)))
