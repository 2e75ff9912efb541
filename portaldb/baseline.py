"""`portaldb baseline`: take a database that was built by hand under the care of the migrations.

It is compared with what they make. Where all is as they make it, they are recorded as adopted; where not, a script is
written for a person to read, and adoption follows only once nothing differs any more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from psycopg import sql

from portaldb import __version__, catalog, database, drift, engine, history, manifest, reconcile
from portaldb.catalog import Snapshot, Thing
from portaldb.database import Connection, query
from portaldb.drift import Change, Difference
from portaldb.errors import FindingsError, RefusedError
from portaldb.history import CLEAN, REMEDY, Entry, State
from portaldb.manifest import Manifest
from portaldb.reconcile import Account, Plan
from portaldb.source import Migration, Script, read_script

_COLUMN = "column public.user_server_configs.encrypted_config"
_CONSTRAINT = "constraint valid_encrypted_config on public.user_server_configs"

_ADOPTABLE = frozenset({State.PENDING, State.FAILED, State.UNVERIFIED, State.UNMARKED})


@dataclass(frozen=True)
class Look:
    """What `baseline` found: how far each migration is there, what differs, and what would mend it."""

    level: str
    """The last migration that the database is, or is to be made, equal to."""
    todo: tuple[Migration, ...]
    """Those that would be recorded as adopted."""
    accounts: tuple[Account, ...]
    differences: tuple[Difference, ...]
    plan: Plan
    unencrypted: int
    """Rows whose encrypted_config is none, where the constraint on it is still to be made."""

    def as_dict(self) -> dict[str, Any]:
        """Return it for a JSON report."""
        return {
            "matches": not self.differences,
            "level": self.level,
            "migrations": [
                {
                    "id": each.id,
                    "state": each.state,
                    "matches": each.matches,
                    "differs": each.differs,
                    "absent": each.absent,
                }
                for each in self.accounts
            ],
            "extra": [each.thing.key for each in self.differences if each.change is Change.EXTRA],
            "by_hand": list(self.plan.unresolved),
            "unencrypted": self.unencrypted,
        }


def look(connection: Connection, migrations: list[Migration], ignored: Sequence[str] = ()) -> Look:
    """Compare a database with the migrations, changing nothing.

    Raises RefusedError where `init` has not prepared it, where migrations are recorded as applied, or where nothing
    of them is there.
    """
    database.require_owner(database.facts(connection))
    entries = history.compare(migrations, history.records(connection))
    _require_adoptable(entries)
    found = catalog.read(connection)
    known = manifest.for_server(found.version)
    manifest.require_current(known, migrations, migrations[-1].id)
    level = _level(known, migrations, entries, found, ignored)
    todo = tuple(
        entry.migration for entry in entries if entry.migration and entry.id <= level and entry.state not in CLEAN
    )
    plan = reconcile.plan(known, migrations, found, level, _quoted(connection))
    unencrypted = _unencrypted(connection, known.at(level), found)
    if unencrypted:
        plan = replace(plan, unresolved=(*plan.unresolved, _convert_first(unencrypted)))
    return Look(
        level,
        todo,
        tuple(reconcile.accounts(known, migrations, found, level)),
        tuple(_differences(known, level, found, ignored)),
        plan,
        unencrypted,
    )


def _unencrypted(connection: Connection, expected: Mapping[str, Thing], found: Snapshot) -> int:
    if _CONSTRAINT not in expected or _CONSTRAINT in found.things or _COLUMN not in found.things:
        return 0
    row = connection.execute(query("baseline", "unencrypted")).fetchone()
    return int(row["rows"]) if row else 0


def _convert_first(rows: int) -> str:
    return (
        f"Rows of user_server_configs that hold plain text or the old format in encrypted_config: {rows}. The "
        "migrations let encrypted values alone into that column, so convert them first, on this database as it is: "
        "`portaldb keys rotate --legacy-key FILE`."
    )


def _quoted(connection: Connection) -> str:
    return sql.Identifier(connection.info.dbname).as_string(connection)


def _require_adoptable(entries: list[Entry]) -> None:
    wrong = [entry for entry in entries if entry.state not in CLEAN | _ADOPTABLE]
    if wrong:
        told = "\n".join(f"  {entry.id} is {entry.state}: {REMEDY[entry.state]}." for entry in wrong)
        raise RefusedError(f"Nothing was compared, because files and record disagree:\n{told}")
    recorded = sum(entry.state in CLEAN for entry in entries)
    if recorded and not any(entry.state in (State.UNVERIFIED, State.UNMARKED) for entry in entries):
        raise RefusedError(
            f"{recorded} migrations are recorded in this database already, so there is nothing to adopt. "
            "`portaldb migrate` applies what is pending; `portaldb drift` shows what was changed by hand."
        )


def _level(
    known: Manifest, migrations: list[Migration], entries: list[Entry], found: Snapshot, ignored: Sequence[str]
) -> str:
    """Return how far the series is to be adopted: as far as something recorded it, or as all matches, or to its end."""
    recorded = [entry.id for entry in entries if entry.state not in (State.PENDING, State.FAILED)]
    if recorded:
        return recorded[-1]
    last = migrations[-1].id
    ours = known.at(last).keys() - known.at("").keys()
    if not any(key in ours and thing.kind in ("table", "function") for key, thing in found.things.items()):
        raise RefusedError(
            "Nothing of what the migrations make is in this database, so there is nothing to adopt. "
            "`portaldb migrate` makes it."
        )
    for migration in reversed(migrations):
        if not _differences(known, migration.id, found, ignored):
            return migration.id
    return last


def _differences(known: Manifest, level: str, found: Snapshot, ignored: Sequence[str]) -> list[Difference]:
    differences = drift.compare(known.at(level), found, known.makers(level))
    return drift.without(differences, found, ignored)


# --- the script ----------------------------------------------------------------------------------------------------


def script(found: Look, where: str, major: int) -> str:
    """Return the reconciling script as text, with a header that says what it is and how to go on."""
    header = (
        f"Makes {where}",
        f"what the migrations of portaldb {__version__} make, up to {found.level}, on PostgreSQL {major}.",
        "",
        f"Written by `portaldb baseline` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. Nothing was executed.",
        "Read every statement, and change what your installation needs otherwise. Then:",
        "",
        "    portaldb baseline --apply THIS_FILE",
        "",
        "runs it in one transaction, compares again, and commits only if nothing differs any more. It takes locks",
        "that no reader passes, for as long as it runs: at a quiet time, and after a backup. Rows are not touched,",
        "but for those that the migrations themselves write.",
    )
    return reconcile.render(found.plan, header)


def write(path: Path, text: str, *, force: bool) -> None:
    """Write the script; raise RefusedError where a file of that name is there and `force` is not given."""
    if path.exists() and not force:
        raise RefusedError(
            f"{path} is there already, and somebody may have worked on it, so it was left as it is. "
            "Name another file with --output, or overwrite it with --force."
        )
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RefusedError(f"{path} could not be written: {error.strerror}. Name another file with --output.") from None


# --- adoption ------------------------------------------------------------------------------------------------------


def adopt(
    url: str,
    migrations: list[Migration],
    path: Path | None,
    *,
    ignored: Sequence[str],
    options: engine.Options,
    say: engine.Say,
) -> list[Migration]:
    """Run the script, if one is given, and record as adopted what the database then holds; all or nothing.

    Raises FindingsError listing what is still not as the migrations make it: then everything was rolled back.
    """
    with database.connect(url, name="portaldb baseline") as connection, database.reading(connection):
        before = look(connection, migrations, ignored)
    text = _read(path) if path else _rows_of(before)
    if before.unencrypted:
        raise RefusedError(
            f"Nothing was changed. {_convert_first(before.unencrypted)} Then run the same command again."
        )
    if path and text:
        # The script was written for the end of the series, or for what plain yoyo marked.
        say(f"running {path}")

    def judge(connection: Connection) -> list[Migration]:
        found = catalog.read(connection)
        left = _differences(manifest.for_server(found.version), before.level, found, ignored)
        if left:
            raise FindingsError(_what_is_left(left, path))
        return list(before.todo)

    return engine.adopt(url, text, judge, options=options, say=say)


def _read(path: Path) -> Script:
    if not path.is_file():
        raise RefusedError(f"There is no file {path}. `portaldb baseline` writes one.")
    return read_script(path)


def _rows_of(found: Look) -> Script | None:
    """Return the rows that migrations without an object bring, to be put in where they are not there yet."""
    texts = [
        migration.script.text
        for migration in found.todo
        if (statements := reconcile.statements_of(migration)) and all(reconcile.repeatable(each) for each in statements)
    ]
    if not texts:
        return None
    last = found.todo[-1].script
    return replace(last, text="SET LOCAL ROLE mcp_admin;\n" + "\n".join(texts), path=Path("the migrations' own rows"))


def _what_is_left(left: list[Difference], path: Path | None) -> str:
    told = [f"  {each.change}: {each.thing.key}" for each, _ in drift.folded(left)]
    shown = told[:20] + ([f"  … and {len(told) - 20} more"] if len(told) > 20 else [])  # noqa: PLR2004
    how = (
        f"Mend {path} and run the same command again; --ignore leaves out what is to stay as it is."
        if path
        else "`portaldb baseline` writes a script for it."
    )
    return "Everything was rolled back, for this is still not as the migrations make it:\n" + "\n".join([*shown, how])
