"""A result in words: who tried what on which relation, what came of it, and what was meant."""

from typing import Any

from portaldb.verify.access import Actor
from portaldb.verify.outcome import Outcome
from portaldb.verify.trial import Result


def actor(outcome: Outcome, name: str) -> Actor | None:
    """Return the actor of that name; None for a role, or everyone."""
    return next((each for each in outcome.access.actors if each.name == name), None)


def who(outcome: Outcome, result: Result) -> str:
    """Name whoever acted: the actor with their tenant, or the role."""
    found = actor(outcome, result.cell.actor)
    return named(found) if found else result.cell.actor


def named(found: Actor) -> str:
    """Name an actor with their tenant and role."""
    return f"{found.title} ({f'tenant {found.tenant}, ' if found.tenant else ''}as {found.role})"


def statement(outcome: Outcome, result: Result) -> str:
    """Return what was run, with labels where ids stood; empty where the catalog was asked."""
    return outcome.labels.told(result.cell.trial.statement) if result.cell.trial else ""


def rows(outcome: Outcome, keys: frozenset[str]) -> str:
    """Name rows by their labels."""
    names = sorted(map(outcome.labels.name, keys))
    return f"{len(names)} {'row' if len(names) == 1 else 'rows'}: {', '.join(names)}" if names else "no row"


def told(outcome: Outcome, value: str | frozenset[str]) -> str:
    """Say what was expected or observed."""
    return value if isinstance(value, str) else rows(outcome, value)


def action(result: Result) -> str:
    """Name the statement and what it was about: 'UPDATE (role) on public.users'."""
    cell = result.cell
    if cell.what == "catalog":
        return f"{cell.relation}: {cell.command}"
    column = f" ({cell.column})" if cell.column else ""
    if cell.what == "attack":
        return f"{cell.command} on {cell.relation}"
    note = "" if cell.what in ("privilege", "rows") else f", {cell.what}"
    tried = f" of {cell.only}" if cell.only else ""
    link = " to" if cell.command == "set role" else " on"
    return f"{cell.command.upper()}{column}{tried}{link} {cell.relation}{note}"


def sentence(outcome: Outcome, result: Result) -> str:
    """Say in one sentence what is wrong."""
    cell = result.cell
    if cell.what == "catalog":
        return f"{action(result)}: {result.answer}."
    meant = told(outcome, cell.expected) + (f" ({cell.right})" if cell.what == "rows" and cell.right else "")
    verb = "reaches" if isinstance(result.observed, frozenset) else "is"
    return f"{who(outcome, result)}: {action(result)} {verb} {told(outcome, result.observed)}; meant: {meant}."


def as_dict(outcome: Outcome, result: Result) -> dict[str, Any]:
    """Return a result for machines."""
    cell = result.cell
    found = actor(outcome, cell.actor)
    return {
        "ok": result.ok,
        "actor": cell.actor,
        "tenant": found.tenant if found else None,
        "role": found.role if found else cell.actor,
        "relation": cell.relation,
        "command": cell.command,
        "column": cell.column,
        "what": cell.what,
        "row": outcome.labels.told(cell.only),
        "expected": _plain(outcome, cell.expected),
        "observed": _plain(outcome, result.observed),
        "statement": statement(outcome, result),
        "answer": outcome.labels.told(result.answer),
    }


def _plain(outcome: Outcome, value: str | frozenset[str]) -> str | list[str]:
    return value if isinstance(value, str) else sorted(map(outcome.labels.name, value))
