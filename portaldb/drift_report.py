"""The report of `drift` for people: what is not as it should be, grouped, each in a few lines."""

import difflib
from itertools import groupby

from rich.text import Text

from portaldb.drift import Change, Difference, Outcome, folded
from portaldb.report import console

_SHOWN = 14

_ADVICE = (
    "Put back what was changed by hand, or write the change as a migration; --ignore leaves out what is meant to be."
)
_ADOPT = "No migration is recorded in this database. If it was built by hand, `portaldb baseline` adopts it."

_HEADING = {
    Change.DIFFERENT: "Different from what the migrations make",
    Change.MISSING: "Missing: the migrations make it",
    Change.EXTRA: "Extra: the migrations do not make it",
}


def show(outcome: Outcome, where: str) -> None:
    """Print what was found and what it was held against."""
    out = console()
    if outcome.manifest != outcome.server:
        out.print(
            Text(
                f"This release has no list for PostgreSQL {outcome.server} and uses that of {outcome.manifest}: "
                "some things may only be spelled differently.",
                style="yellow",
            )
        )
    for change, group in groupby(folded(outcome.differences), key=lambda each: each[0].change):
        out.print(Text(f"{_HEADING[change]}\n", style="bold"))
        for lines in _merged(list(group)):
            for line in lines:
                colour = {"-": "red", "+": "green"}.get(line.strip()[:1], "") if line.startswith("    ") else ""
                out.print(Text(f"  {line}", style=colour))
        out.print()
    for kind, why in outcome.unseen.items():
        out.print(Text(f"Not compared: {kind}s, because {why}.", style="yellow"))
    level = f"as of {outcome.level}" if outcome.level else "as init leaves it, for no migration is recorded"
    counts = ", ".join(f"{sum(each.change is change for each in outcome.differences)} {change}" for change in Change)
    summary = counts if outcome.differences else "no drift"
    style = "red" if outcome.differences else "green"
    out.print(Text(f"{where}: {summary}; {outcome.compared} things compared, {level}.", style=style))


def advice(outcome: Outcome) -> str:
    """Return what to do about the findings."""
    return _ADVICE if outcome.level else _ADOPT


def _merged(group: list[tuple[Difference, int]]) -> list[list[str]]:
    """Lay out each difference; the privileges that one role was granted on one thing go into one line."""
    told: list[list[str]] = []
    grants: dict[tuple[str, str, str], list[str]] = {}
    for each, below in group:
        if each.thing.kind == "grant" and each.change is not Change.DIFFERENT:
            privilege, _, grantee = each.thing.sql.partition(" ")
            key = (each.thing.on, grantee, each.migration or "")
            if key not in grants:
                grants[key] = []
                told.append(grants[key])
            grants[key].append(privilege)
        else:
            told.append(_lines(each, below))
    for (on, grantee, migration), privileges in grants.items():
        privileges[:] = [f"grant {', '.join(privileges)} on {on} to {grantee}{_by(migration)}"]
    return told


def _by(migration: str | None) -> str:
    return f"   ({migration})" if migration else ""


def _lines(each: Difference, below: int) -> list[str]:
    others = f", and {below} things that belong to it" if below else ""
    head = f"{each.thing.key}{others}{_by(each.migration)}"
    before = (each.expected or "").splitlines()
    after = (each.found or "").splitlines()
    if each.change is Change.DIFFERENT:
        diff = difflib.unified_diff(before, after, lineterm="", n=1)
        body = [line for line in diff if not line.startswith(("---", "+++", "@@"))]
    else:
        sign = "-" if each.change is Change.MISSING else "+"
        body = [f"{sign}{line}" for line in (before or after) if line.strip()]
        if each.thing.kind in ("role", "schema", "comment", "function", "procedure", "view"):
            body = []
    if len(body) > _SHOWN:
        body = [*body[:_SHOWN], f"… {len(body) - _SHOWN} more lines"]
    return [head, *(f"    {line}" for line in body)]
