"""`portaldb drift`: what a database has that the migrations do not make, and the reverse.

The judgement is a pure function of two lists of things. Nothing is executed on the server but reads of its catalog.
"""

import fnmatch
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from portaldb import catalog, database, ddl, history, manifest, partitions
from portaldb.catalog import Snapshot, Thing
from portaldb.database import Connection
from portaldb.errors import RefusedError
from portaldb.history import REMEDY, Entry, State
from portaldb.source import Migration


class Change(StrEnum):
    """In which way a thing is not as the migrations make it."""

    DIFFERENT = "different"
    MISSING = "missing"
    EXTRA = "extra"


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it should be; `migration` is the one that gave it its form, or None."""

    change: Change
    thing: Thing
    expected: str | None
    found: str | None
    migration: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it for a JSON report."""
        return {
            "change": str(self.change),
            "kind": self.thing.kind,
            "name": self.thing.name,
            "of": self.thing.on or None,
            "expected": self.expected,
            "found": self.found,
            "migration": self.migration,
        }


@dataclass(frozen=True)
class Outcome:
    """What `drift` found, and what it was held against."""

    differences: list[Difference]
    compared: int
    level: str | None
    server: int
    manifest: int
    unseen: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Return it for a JSON report."""
        return {
            "clean": not self.differences,
            "server": self.server,
            "manifest": self.manifest,
            "level": self.level,
            "compared": self.compared,
            "not_compared": self.unseen,
            "findings": [each.as_dict() for each in self.differences],
        }


COMPARABLE = history.CLEAN | {State.PENDING, State.FAILED}
"""States that say what is in the database; a failed attempt left nothing behind."""

_MAY_BE_MISSING = (
    # A managed server forbids these; init said then what is lost.
    "attribute BYPASSRLS of role portal_backup",
    "membership of portal_backup in pg_read_all_data",
    "extension pg_stat_statements",
)
_MAY_BE_EXTRA = (
    # The DBA gives the login for backups; init schedules where pg_cron is.
    "attribute LOGIN of role portal_backup",
    "grant USAGE on schema cron to portal_maintenance",
    "grant USAGE on schema cron to mcp_admin",
    "grant DELETE on table cron.job_run_details to portal_maintenance",
    "grant DELETE on table cron.job_run_details to mcp_admin",
    "extension *",
)
_SENSITIVE_SETTINGS = frozenset(
    {
        "search_path", "row_security", "role", "session_authorization", "session_replication_role",
        "session_preload_libraries", "local_preload_libraries", "dynamic_library_path", "app.current_user_id",
        "check_function_bodies", "standard_conforming_strings", "default_transaction_read_only",
    }
)  # fmt: skip
"""Settings of a role or database that change what SQL means; any other is an operator's to tune."""


def compare(expected: dict[str, Thing], found: Snapshot, makers: dict[str, str] | None = None) -> list[Difference]:
    """Hold what is there against what should be there. Pure."""
    makers = makers or {}
    due = {**expected, **_cron_jobs(expected), **partitions.expected(found.things, expected)}
    differences = []
    for key, thing in due.items():
        there = found.things.get(key)
        if thing.kind in found.unseen or (thing.on.startswith("partition ") and not {thing.on} & {*found.things, *due}):
            continue  # What hangs on a partition that retention has dropped is no loss.
        if there is None:
            if not may_be_missing(thing):
                differences.append(Difference(Change.MISSING, thing, thing.definition, None, makers.get(key)))
        elif not ddl.same(thing, there):
            maker = makers.get(key)
            differences.append(Difference(Change.DIFFERENT, there, thing.definition, there.definition, maker))
    for key, thing in found.things.items():
        if key not in due and not tolerated(thing) and not partitions.is_comment(thing, found.things):
            differences.append(Difference(Change.EXTRA, thing, None, thing.definition))
    kinds = manifest.KINDS

    def place(each: Difference) -> tuple[int, int, str]:
        kind = each.thing.kind
        return list(Change).index(each.change), kinds.index(kind) if kind in kinds else len(kinds), each.thing.name

    return sorted(differences, key=place)


def _cron_jobs(expected: dict[str, Thing]) -> dict[str, Thing]:
    """Return what pg_cron should hold: the active jobs of the registry."""
    jobs = (thing for thing in expected.values() if thing.kind == "job")
    by_run_job = "procedure public.run_job(text)" in expected
    due = (
        Thing("cron job", thing.name, _as_run_job(thing) if by_run_job else thing.definition)
        for thing in jobs
        if not thing.definition.endswith("(inactive)")
    )
    return {thing.key: thing for thing in due}


def _as_run_job(job: Thing) -> str:
    """Return what pg_cron holds of a job, which is called by its name: a schedule is five fields."""
    return " ".join([*job.definition.split()[:5], f"CALL public.run_job('{job.name}')"])


def tolerated(thing: Thing) -> bool:
    """Say whether a thing that the migrations do not make belongs to operators."""
    if thing.kind == "setting":
        return thing.sql.lower() not in _SENSITIVE_SETTINGS
    return any(fnmatch.fnmatchcase(thing.key, pattern) for pattern in _MAY_BE_EXTRA)


def may_be_missing(thing: Thing) -> bool:
    """Say whether a managed server may have forbidden a thing that `init` makes."""
    return thing.key in _MAY_BE_MISSING


def level_of(entries: list[Entry]) -> str | None:
    """Return the last applied migration, None where there is none.

    Raises RefusedError where the record does not say which migrations are in the database.
    """
    wrong = [entry for entry in entries if entry.state not in COMPARABLE]
    if wrong:
        told = "\n".join(f"  {entry.id} is {entry.state}: {REMEDY[entry.state]}." for entry in wrong)
        raise RefusedError(f"It is not known what should be in this database, so nothing was compared:\n{told}")
    applied = [entry.id for entry in entries if entry.state in history.CLEAN]
    return applied[-1] if applied else None


def look(connection: Connection, migrations: list[Migration], ignored: Iterable[str] = ()) -> Outcome:
    """Compare a database with what the migrations applied to it make; pending ones are left out.

    Raises RefusedError where that is not known: the record is unclean, or `init` was never run.
    """
    if not database.facts(connection).initialised:
        raise RefusedError(
            f"The role {database.OWNER} does not exist on this server, so there is nothing to compare. "
            "Run `portaldb init` as a superuser first."
        )
    level = level_of(history.compare(migrations, history.records(connection)))
    found = catalog.read(connection)
    known = manifest.for_server(found.version)
    manifest.require_current(known, migrations, level or "")
    expected = known.at(level or "")
    differences = without(compare(expected, found, known.makers(level or "")), found, ignored)
    unseen = {
        kind: why
        for kind, why in found.unseen.items()
        if any(thing.kind in (kind, "job") for thing in expected.values())
    }
    return Outcome(differences, len(expected), level, found.version // 10000, known.major, unseen)


def without(differences: list[Difference], found: Snapshot, ignored: Iterable[str]) -> list[Difference]:
    """Leave out what a pattern names, and what hangs on an extra thing that a pattern names."""
    patterns = tuple(ignored)
    extra = {each.thing.key for each in differences if each.change is Change.EXTRA}

    def named(key: str) -> bool:
        return any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)

    def left_out(each: Difference) -> bool:
        key, thing = each.thing.key, each.thing
        while not named(key):
            key = thing.on
            if key not in extra:
                return False
            thing = found.things[key]
        return True

    return [each for each in differences if not left_out(each)]


def folded(differences: list[Difference]) -> list[tuple[Difference, int]]:
    """Leave out what hangs on a thing that is missing or extra itself; return the rest with how many were left out."""
    whole = {(each.change, each.thing.key) for each in differences if each.change is not Change.DIFFERENT}
    above = {each.thing.key: each.thing.on for each in differences}
    counts: dict[str, int] = {}
    kept = []
    for each in differences:
        root = each.thing.on
        while (each.change, above.get(root, "")) in whole:
            root = above[root]
        if (each.change, root) in whole:
            counts[root] = counts.get(root, 0) + 1
        else:
            kept.append(each)
    return [(each, counts.get(each.thing.key, 0)) for each in kept]
