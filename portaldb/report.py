"""Reports for people: tables that fit a terminal, in colour only there."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from portaldb.history import CLEAN, REMEDY, Entry, State
from portaldb.loss import Loss

_COLOUR = {State.APPLIED: "green", State.ADOPTED: "green", State.PENDING: "yellow", State.STARTED: "yellow"}


def console(stderr: bool = False) -> Console:
    """Return a console: rich's own rules for colour (NO_COLOR, not a terminal) and width; no markup in our text."""
    wide = Console(stderr=stderr, markup=False, highlight=False)
    if not wide.is_terminal:
        # A pipe has no width: nothing is cut for a file or a grep.
        wide.width = 200
    return wide


def table(
    headings: Sequence[str], rows: Iterable[Sequence[str | Text]], *, right: frozenset[str] = frozenset()
) -> Table:
    """Lay out rows under headings; the columns named in `right` are numbers."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        grid.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*row)
    return grid


def status(entries: list[Entry], where: str) -> None:
    """Print what is applied and what is not, one row a migration, and a remedy for each that is unclean."""
    out = console()
    rows = []
    for entry in entries:
        record = entry.record
        known = record if record and entry.state not in (State.PENDING,) else None
        rows.append(
            (
                entry.id,
                Text(str(entry.state), style=_COLOUR.get(entry.state, "red")),
                f"{known.started_at.astimezone():%Y-%m-%d %H:%M:%S}" if known and known.started_at else "",
                (known.username or "") if known else "",
                _milliseconds(known.seconds) if known and known.seconds is not None else "",
            )
        )
    out.print(table(("migration", "state", "since", "by", "ms"), rows, right=frozenset({"ms"})))
    out.print()
    for entry in entries:
        if entry.state in REMEDY:
            note = f" It said: {entry.record.message}" if entry.record and entry.record.message else ""
            out.print(Text(f"{entry.id} is {entry.state}: {REMEDY[entry.state]}.{note}", style="red"))
    counts: dict[State, int] = {}
    for entry in entries:
        counts[entry.state] = counts.get(entry.state, 0) + 1
    summary = ", ".join(f"{count} {state}" for state, count in counts.items())
    good = all(entry.state in CLEAN for entry in entries)
    out.print(Text(f"{where}: {summary}.", style="green" if good else "yellow"))


def losses(found: list[Loss], where: str) -> None:
    """Print what a rollback would take away, latest migration first."""
    out = console(stderr=True)
    out.print(f"To be undone on {where}, in this order:\n")
    out.print(table(("migration", "what is lost"), [(each.id, "; ".join(each.what) or "no data") for each in found]))
    out.print()


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f}"
