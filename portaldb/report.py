"""Reports for people: tables that fit a terminal, in colour only there."""

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from portaldb.history import CLEAN, REMEDY, Entry, State

if TYPE_CHECKING:
    from portaldb.locks import Effect
    from portaldb.loss import Loss
    from portaldb.plan import Plan, Size, Step

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


def plan(planned: "Plan", where: str, *, with_sql: bool) -> None:
    """Print the pending migrations: each statement, and under it what it does to tables that are there already."""
    out = console()
    for migration in planned.migrations:
        how = "one transaction" if migration.transactional else "outside a transaction"
        out.print(Text(f"{migration.name}  ({how})", style="bold"))
        if with_sql:
            for step in migration.steps:
                out.print()
                out.print(Text(_indent(step.sql + ";", "    "), style="dim"), soft_wrap=True)
                _effects(out, [step])
        else:
            _effects(out, migration.steps)
        out.print()
    for note in planned.notes:
        out.print(Text(note, style="yellow"))
    if planned.migrations:
        out.print(f"{where}: {len(planned.migrations)} pending. Nothing was written. Next: portaldb migrate")
    else:
        out.print(f"{where}: nothing is pending.")


def _effects(out: Console, steps: "list[Step]") -> None:
    """Print what statements do; a run of them that does the same thing is one line."""
    lines = [(step.line, _effect(effect, size)) for step in steps for effect, size in step.effects]
    for text, run in groupby(lines, key=lambda each: each[1]):
        at = [line for line, _ in run]
        where = f"line {at[0]}" if at[0] == at[-1] else f"lines {at[0]} to {at[-1]}"
        out.print(Text(f"  {where}: ").append_text(text), soft_wrap=True)
    for warning in (warning for step in steps for warning in step.warnings):
        out.print(Text(f"  ! squawk {warning.rule}, line {warning.line}: {warning.message}", style="yellow"))


def _effect(effect: "Effect", size: "Size | None") -> Text:
    work = [word for word, does in (("rewrites", effect.rewrites), ("scans", effect.scans)) if does]
    if not effect.relation:
        # No lock at all, or one on relations that the statement does not name: `why` says which.
        return Text(f"{effect.lock or 'no lock'}: {effect.why}", style="yellow" if effect.lock else "")
    text = f"{effect.relation}: {effect.lock or 'no lock'}"
    if size is None:
        return Text(f"{text} (empty or not there yet)", style="green")
    if effect.blocks:
        text += f", blocks {effect.blocks}"
    if work:
        text += f", {'' if effect.certain else 'perhaps '}{' and '.join(work)} the table"
    rows = "never analysed" if size.rows is None else f"about {size.rows:,} rows"
    return Text(f"{text} ({rows}, {pretty_bytes(size.bytes)}): {effect.why}", style="red" if work else "yellow")


def now_and_then(seconds: float = 5.0) -> Callable[[], bool]:
    """Return what says yes once in so many seconds, for lines of progress where there is no terminal."""
    told = time.monotonic()

    def due() -> bool:
        nonlocal told
        now = time.monotonic()
        if now - told < seconds:
            return False
        told = now
        return True

    return due


def _indent(text: str, by: str) -> str:
    return "\n".join(f"{by}{line}" for line in text.splitlines())


def pretty_bytes(count: float) -> str:
    """Say how much a number of bytes is, as the server's pg_size_pretty."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1024:  # noqa: PLR2004 - binary units, as pg_size_pretty
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"


def losses(found: "list[Loss]", where: str) -> None:
    """Print what a rollback would take away, latest migration first."""
    out = console(stderr=True)
    out.print(f"To be undone on {where}, in this order:\n")
    out.print(table(("migration", "what is lost"), [(each.id, "; ".join(each.what) or "no data") for each in found]))
    out.print()


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f}"
