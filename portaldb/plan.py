"""What `migrate` would do here and now: each pending statement, the locks it takes, and on how large a table."""

from dataclasses import asdict, dataclass
from typing import Any

import psycopg

from portaldb import squawk
from portaldb.database import Connection, query, server_error
from portaldb.errors import EnvironmentMissingError
from portaldb.findings import Finding
from portaldb.locks import Effect, effects
from portaldb.source import Migration, UnparsableError

_HELD_BY_THE_ENGINE = ("require-lock-timeout", "require-statement-timeout")
"""Rules of squawk that ask the file for what `migrate` sets itself."""

_NOT_ABOUT_TRAFFIC = ("ban-char-field", "prefer-bigint-over-int", "prefer-identity", "prefer-text-field")
"""Rules of squawk about taste in types: `portaldb lint` is the place for those."""


@dataclass(frozen=True)
class Size:
    """How large a live table is; rows are the planner's estimate, None where it was never analysed."""

    bytes: int
    rows: int | None


@dataclass(frozen=True)
class Step:
    """One statement: its text, what it does to which relation, and what squawk says of it on a table with rows."""

    line: int
    sql: str
    effects: list[tuple[Effect, Size | None]]
    """With the live table's size; None where the relation is not there yet."""
    warnings: list[Finding]


@dataclass(frozen=True)
class Planned:
    """One pending migration and its steps."""

    id: str
    name: str
    transactional: bool
    steps: list[Step]

    def as_dict(self) -> dict[str, Any]:
        """Return it for a JSON report; sizes in bytes, rows estimated."""
        return {
            "id": self.id,
            "file": self.name,
            "transactional": self.transactional,
            "statements": [
                {
                    "line": step.line,
                    "sql": step.sql,
                    "effects": [
                        asdict(effect) | {"live": asdict(size) if size else None} for effect, size in step.effects
                    ],
                    "squawk": [asdict(warning) for warning in step.warnings],
                }
                for step in self.steps
            ],
        }


@dataclass(frozen=True)
class Plan:
    """The pending migrations in order, and what was not looked at."""

    migrations: list[Planned]
    notes: list[str]


def build(connection: Connection, pending: list[Migration], server_version: int) -> Plan:
    """Read the pending SQL and the catalog; write nothing. Raises RightsError where the catalog is closed to us."""
    notes: list[str] = []
    read = [(migration, _statements(migration, notes)) for migration in pending]
    found = [effect for _, steps in read for _, _, effects_of_one in steps for effect in effects_of_one]
    sizes = _sizes(connection, sorted({effect.relation for effect in found if effect.relation}))
    planned = []
    for migration, steps in read:
        findings = _squawk(migration, server_version, notes)
        planned.append(
            Planned(
                migration.id,
                migration.name,
                migration.script.transactional,
                [_step(line, text, found, sizes, findings) for line, text, found in steps],
            )
        )
    return Plan(planned, list(dict.fromkeys(notes)))


def _step(line: int, text: str, found: list[Effect], sizes: dict[str, Size], findings: list[Finding]) -> Step:
    sized = [(effect, sizes.get(effect.relation or "")) for effect in found]
    last = line + text.count("\n")
    # What squawk fears costs nothing on a table without rows.
    warnings = [each for each in findings if line <= each.line <= last] if any(size for _, size in sized) else []
    return Step(line, text, sized, warnings)


def _statements(migration: Migration, notes: list[str]) -> list[tuple[int, str, list[Effect]]]:
    try:
        return [(each.line, each.text, effects(each.text)) for each in migration.script.statements]
    except UnparsableError as error:
        line = migration.script.text.count("\n", 0, error.offset) + 1
        notes.append(f"{migration.name}, line {line}: {error}. Its statements were not looked at.")
        return [(1, migration.script.text, [])]


def _sizes(connection: Connection, names: list[str]) -> dict[str, Size]:
    try:
        rows = connection.execute(query("plan", "sizes"), {"names": names}).fetchall()
    except psycopg.Error as error:
        raise server_error(error, "reading the sizes of tables") from None
    # An empty table is as good as none: nothing to rewrite, nobody to block.
    return {row["name"]: Size(row["bytes"], row["rows"]) for row in rows if row["bytes"]}


def _squawk(migration: Migration, server_version: int, notes: list[str]) -> list[Finding]:
    try:
        return squawk.findings(
            migration.script.text,
            in_transaction=migration.script.transactional,
            pg_version=f"{server_version // 10000}.0",
            exclude=(*_HELD_BY_THE_ENGINE, *_NOT_ABOUT_TRAFFIC),
        )
    except EnvironmentMissingError as error:
        notes.append(str(error))
        return []
