"""The catalog lints: rules that the catalog is held to, one SQL file each, with a page under docs/verify-lints."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from portaldb.database import Connection
from portaldb.errors import UsageError
from portaldb.verify.access import AcceptedLint, Access
from portaldb.verify.outcome import Lint, LintFinding

FOLDER = Path(__file__).parent

_HEAD = re.compile(r"-- (?P<fault>.+\.)\n-- level: (?P<level>error|warning)\n-- fix: (?P<fix>.+)\n\n(?P<query>(?s:.+))")


@dataclass(frozen=True)
class Rule:
    """A lint and its query, which returns object and detail of what it finds."""

    lint: Lint
    query: str


@cache
def rules() -> tuple[Rule, ...]:
    """Read the lints, in the order of their numbers."""
    found = []
    for path in sorted(FOLDER.glob("[0-9]*.sql")):
        match = _HEAD.fullmatch(path.read_text(encoding="utf-8"))
        if match is None:
            raise ValueError(f"{path.name} does not begin with its fault, level and fix, a comment line each.")
        found.append(Rule(Lint(path.stem, match["level"], match["fault"], match["fix"]), match["query"].strip()))
    return tuple(found)


def all_lints() -> list[Lint]:
    """Return every lint, in the order of their numbers."""
    return [rule.lint for rule in rules()]


def run(connection: Connection, access: Access, *, only: str = "") -> list[LintFinding]:
    """Ask the catalog every lint (or the one named `only`); return what is found or excused in vain, errors first.

    Raises UsageError where the access file accepts something of a lint that is not there.
    """
    stems = [rule.lint.stem for rule in rules()]
    for unknown in sorted(set(access.lints) - set(stems)):
        raise UsageError(
            f"the access file {access.path.name} accepts findings of {unknown}, and there is no such lint."
        )
    found: dict[str, dict[str, str]] = {stem: {} for stem in stems}
    # Of the parts in between the planner has no statistics: it would take them for tiny and loop over them.
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL enable_nestloop = off")
        for row in connection.execute(_statement(only).encode(), _values(access)):
            found[row["stem"]][row["object"]] = row["detail"]
    findings = [
        finding
        for rule in rules()
        if only in ("", rule.lint.stem)
        for finding in _judged(rule.lint, found[rule.lint.stem], access.lints.get(rule.lint.stem, {}))
    ]
    return sorted(findings, key=lambda finding: finding.lint.level)


@cache
def _statement(only: str) -> str:
    """Put the lints together: what several of them look at is read once."""
    scope = (FOLDER / "scope.sql").read_text(encoding="utf-8")
    part = "SELECT '{stem}' AS stem, l.object::text AS object, l.detail::text AS detail FROM (\n{query}\n) AS l"
    parts = [part.format(stem=rule.lint.stem, query=rule.query) for rule in rules() if only in ("", rule.lint.stem)]
    return scope.replace("{lints}", "\nUNION ALL\n".join(parts))


def _values(access: Access) -> dict[str, Any]:
    owners = {actor.role for actor in access.actors if actor.name == "owner"}
    bypassing = {role.name for role in access.roles.values() if role.bypassrls}
    return {
        "roles": list(access.roles),
        "applications": [name for name in access.roles if name not in owners | bypassing],
        "bypassing": list(bypassing),
        "definers": list(access.definers),
        "schemas": access.schemas,
        "setting": access.setting,
    }


def _judged(lint: Lint, found: dict[str, str], accepted: dict[str, AcceptedLint]) -> Iterator[LintFinding]:
    for name, detail in found.items():
        yield LintFinding(lint, name, detail, accepted[name].reason if name in accepted else "")
    for name, each in accepted.items():
        if name not in found and not each.optional:
            yield LintFinding(lint, name, "accepted in the access file and no longer found: take the entry out")
