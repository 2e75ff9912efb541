"""The report of `baseline` for people: how far each migration is there, and what to do next."""

from pathlib import Path

from rich.text import Text

from portaldb.baseline import Look
from portaldb.drift import Change, folded
from portaldb.errors import FindingsError, PortalError, RefusedError
from portaldb.report import console, table

_COLOUR = {"matches": "green", "differs": "yellow", "absent": "red"}


def show(found: Look, where: str) -> None:
    """Print what each migration makes and how much of it is there."""
    out = console()
    rows: list[tuple[str | Text, ...]] = [
        (
            each.id,
            Text(each.state, style=_COLOUR.get(each.state, "")),
            *(str(number) if number else "" for number in (each.matches, each.differs, each.absent)),
        )
        for each in found.accounts
    ]
    headings = ("migration", "state", "as it should be", "different", "missing")
    out.print(table(headings, rows, right=frozenset(headings[2:])))
    out.print()
    extra = [each for each, _ in folded([each for each in found.differences if each.change is Change.EXTRA])]
    if extra:
        out.print(Text(f"Besides, {len(extra)} things are there that no migration makes.", style="yellow"))
    if not found.differences:
        out.print(
            Text(
                f"{where} is what the migrations make, up to {found.level}. Adopt it with: portaldb baseline --yes",
                style="green",
            )
        )


def verdict(found: Look, output: Path) -> PortalError:
    """Return what ends the command where something differs: what was written, and what a person must do."""
    if found.plan.unresolved:
        told = "\n".join(f"  * {each}" for each in found.plan.unresolved)
        return RefusedError(
            f"{output} was written, but cannot mend everything. Nothing was changed. See to this by hand:\n{told}"
        )
    return FindingsError(
        f"{output} was written; nothing was changed. Read it, then: portaldb baseline --apply {output}"
    )
