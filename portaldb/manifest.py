"""The manifest: every thing that the migrations make, by whom and in which form, for one major version.

One file a major version, because servers spell the same view differently. It is made from an empty database by
`portaldb manifest --write`, which takes a snapshot after `init` and after each migration.
"""

import json
import re
import secrets
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from portaldb import bootstrap, catalog, database, engine
from portaldb.catalog import Thing
from portaldb.database import Connection, query
from portaldb.errors import RefusedError
from portaldb.partitions import is_dated
from portaldb.source import Migration

FOLDER = Path(__file__).parent / "manifests"

_DATED_NAME = re.compile(r"\b\w+_\d{4}_\d{2}\b")
"""The dated partitions that a migration makes by name; those alone have a comment that is known beforehand."""

INIT = "init"
"""Stands for `portaldb init` where a migration's id would stand."""

KINDS = (
    "database", "role", "attribute", "membership", "setting", "extension", "schema", "type", "domain", "sequence",
    "function", "procedure", "aggregate", "table", "foreign table", "column", "partition", "constraint", "index",
    "validity", "statistics", "view", "materialized view", "trigger", "rule", "event trigger",
    "policy", "row security", "row security for the owner", "owner", "default privileges", "rights", "grant",
    "comment", "job", "cron job",
)  # fmt: skip
"""In the order of reports: what others hang on comes first."""


@dataclass(frozen=True)
class Entry:
    """A thing through the series: its form after each migration that touched it, None where that took it away."""

    kind: str
    name: str
    on: str
    sql: str
    history: dict[str, str | None]

    @property
    def key(self) -> str:
        """The key of the thing."""
        return f"{self.kind} {self.name}".strip()

    def at(self, level: str) -> tuple[Thing | None, str]:
        """Return its form once `level` was applied, and the migration that gave it that."""
        definition, maker = None, ""
        for migration, form in self.history.items():
            if migration == INIT or migration <= level:
                definition, maker = form, migration
        return (Thing(self.kind, self.name, definition, self.on, self.sql) if definition is not None else None), maker


@dataclass(frozen=True)
class Manifest:
    """What the migrations make on one major version, and the checksums of the files it was made from."""

    major: int
    migrations: dict[str, str]
    entries: tuple[Entry, ...]

    def at(self, level: str) -> dict[str, Thing]:
        """Return the things that exist once `level` was applied, by key."""
        found = (entry.at(level)[0] for entry in self.entries)
        return {thing.key: thing for thing in found if thing}

    def makers(self, level: str) -> dict[str, str]:
        """Return which migration gave each thing the form it has at `level`."""
        return {entry.key: entry.at(level)[1] for entry in self.entries}


def shipped() -> list[int]:
    """Return the major versions that this release has a manifest for."""
    return sorted(int(path.stem) for path in FOLDER.glob("*.json"))


def for_server(version: int) -> Manifest:
    """Return the manifest of a server's major version, or of the nearest lower one.

    Raises RefusedError where there is none.
    """
    majors = [major for major in shipped() if major <= version // 10000]
    if not majors:
        raise RefusedError(
            f"This release knows what the migrations make on PostgreSQL {', '.join(map(str, shipped()))}, and the "
            f"server is {version // 10000}. Use a newer server."
        )
    return load(majors[-1])


@cache
def load(major: int) -> Manifest:
    """Read the shipped manifest of one major version."""
    return parse((FOLDER / f"{major}.json").read_text(encoding="utf-8"))


def parse(text: str) -> Manifest:
    """Read a manifest."""
    found = json.loads(text)
    entries = tuple(
        Entry(each["kind"], each["name"], each.get("on", ""), each.get("sql", ""), each["history"])
        for each in found["objects"]
    )
    return Manifest(found["major"], found["migrations"], entries)


def render(manifest: Manifest) -> str:
    """Write a manifest as JSON, a thing a line, so that a change of one is a line in a diff."""
    objects = ",\n".join(json.dumps(_compact(entry), ensure_ascii=False) for entry in manifest.entries)
    migrations = json.dumps(manifest.migrations, indent=1)
    return f'{{"major": {manifest.major},\n"migrations": {migrations},\n"objects": [\n{objects}\n]}}\n'


def _compact(entry: Entry) -> dict[str, Any]:
    found = {"kind": entry.kind, "name": entry.name, "on": entry.on, "sql": entry.sql, "history": entry.history}
    return {key: value for key, value in found.items() if value or key == "name"}


def require_current(manifest: Manifest, migrations: list[Migration], level: str) -> None:
    """Raise RefusedError where the manifest was made from other files than those up to `level`."""
    for migration in migrations:
        if migration.id <= level and manifest.migrations.get(migration.id) != migration.checksum:
            raise RefusedError(
                f"The list of what the migrations make (portaldb/manifests/{manifest.major}.json) was not made from "
                f"{migration.name} as it is. Nothing was compared. Make it anew: portaldb manifest --write, on a "
                f"server of PostgreSQL {manifest.major}."
            )


def build(url: str, migrations: list[Migration], say: engine.Say) -> Manifest:
    """Make a manifest on a database of its own, which is dropped afterwards; needs a superuser.

    Raises RefusedError where somebody changed the roles of that server, since they would be taken for `init`'s.
    """
    name = f"portaldb_manifest_{secrets.token_hex(4)}"
    target = database.with_database(url, name)
    with database.connect(database.with_database(url, "postgres"), name="portaldb manifest") as server:
        try:
            bootstrap.init(target, locale=_locale(server), dry_run=False, wait=0, say=_quiet)
            return _record(target, migrations, say)
        finally:
            server.execute(sql.SQL(query("manifest", "drop")).format(database=sql.Identifier(name)))


def _quiet(line: str, *, passing: bool = False) -> None:
    """Say nothing: the command's own lines tell what is going on."""


def _locale(server: Connection) -> str:
    row = server.execute(query("manifest", "locale")).fetchone()
    assert row is not None  # noqa: S101 - the current database is always there
    return str(row["locale"])


def _record(url: str, migrations: list[Migration], say: engine.Say) -> Manifest:
    entries: dict[str, Entry] = {}
    before: dict[str, Thing] = {}
    version = 0
    named = set(_DATED_NAME.findall("\n".join(migration.script.text for migration in migrations)))
    with database.connect(url, name="portaldb manifest") as reader:
        for level in [INIT, *(migration.id for migration in migrations)]:
            if level != INIT:
                engine.migrate(url, migrations, to=level, options=engine.Options(), wait=0, dry_run=False, say=_quiet)
            found = catalog.read(reader)
            if level == INIT:
                version = found.version
                _require_own_roles(found)
            now = {key: thing for key, thing in found.things.items() if _lasting(thing, found.things, named)}
            _note(entries, before, now, level)
            say(f"{level}: {len(now)} things", passing=True)
            before = now
    return Manifest(version // 10000, {migration.id: migration.checksum for migration in migrations}, _ordered(entries))


def _lasting(thing: Thing, things: dict[str, Thing], named: set[str]) -> bool:
    """Say whether a thing is there whenever the migrations ran: dated partitions follow a rule, all but their names."""
    if thing.kind == "comment" and thing.on.rpartition(".")[2] in named:
        return True
    return not is_dated(thing, things)


def _note(entries: dict[str, Entry], before: dict[str, Thing], now: dict[str, Thing], level: str) -> None:
    for key, thing in now.items():
        if key not in before or before[key].definition != thing.definition:
            entry = entries.setdefault(key, Entry(thing.kind, thing.name, thing.on, thing.sql, {}))
            entry.history[level] = thing.definition
    for key in before.keys() - now.keys():
        entries[key].history[level] = None


def _ordered(entries: dict[str, Entry]) -> tuple[Entry, ...]:
    def place(entry: Entry) -> tuple[int, str, str]:
        # Columns stay in the order of their table.
        return KINDS.index(entry.kind), entry.on, "" if entry.kind == "column" else entry.name

    return tuple(sorted(entries.values(), key=place))


def _require_own_roles(found: catalog.Snapshot) -> None:
    expected = {
        f"attribute {attribute} of role {role.name}"
        for role in bootstrap.ROLES
        for attribute, has in (("LOGIN", role.login), ("BYPASSRLS", role.bypassrls))
        if has
    }
    there = {key for key, thing in found.things.items() if thing.kind == "attribute"}
    wrong = sorted(expected ^ there)
    if wrong:
        raise RefusedError(
            f"The roles of this server are not as init makes them ({', '.join(wrong)}), so a manifest made here would "
            "be wrong. Use a server of your own: portaldb dev start."
        )


def current(url: str, migrations: list[Migration], say: engine.Say) -> tuple[Manifest, Path, bool]:
    """Make the manifest of a server's major version and say whether the shipped one is the same."""
    try:
        fresh = build(url, migrations, say)
    except psycopg.Error as error:
        raise database.server_error(error, "making the manifest") from None
    path = FOLDER / f"{fresh.major}.json"
    return fresh, path, path.is_file() and path.read_text(encoding="utf-8") == render(fresh)
