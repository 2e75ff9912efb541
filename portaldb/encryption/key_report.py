"""What the commands of the keys tell a person. Nothing here has key material or a text to tell."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from portaldb import report
from portaldb.encryption import key_check, rotation
from portaldb.encryption.config_rows import Finding
from portaldb.encryption.key_check import Checked, Rows
from portaldb.encryption.keyring import Key, State
from portaldb.encryption.rotation import Rotation
from portaldb.engine import Say

_COLOUR = {State.PRIMARY: "green", State.RETIRED: "dim"}


def keys(found: tuple[Key, ...], rows: Rows | None) -> None:
    """Print a set, one row a key, and the kids that values carry beside it."""
    out = report.console()
    headings = ("kid", "state", "enc", "age") + (("rows",) if rows is not None else ())
    table = report.table(headings, (), right=frozenset({"rows"}))
    # A kid is typed by its beginning, so on a narrow terminal its end may go.
    table.columns[0].overflow = "ellipsis"
    for column in table.columns[1:]:
        column.no_wrap = True
    colours = {str(state): colour for state, colour in _COLOUR.items()}
    for each in key_check.listed(found, rows):
        state = each["state"]
        style = colours.get(state, "" if each["enc"] else "red")
        cells = [each["kid"] or "", Text(state, style=style), each["enc"] or "", _age(each["made_at"])]
        table.add_row(*cells, *([f"{each['rows']:,}"] if rows is not None else []))
    out.print(table)


def checked(found: Checked, where: str | None) -> None:
    """Print what a check found."""
    out = report.console()
    keys(found.keys, found.rows)
    out.print()
    for note in found.notes:
        out.print(Text(note, style="dim"))
    for fault in found.faults:
        out.print(Text(fault, style="red"))
    _findings(found.findings)
    if where is None:
        out.print("The values were not looked at: no database was asked.")
        return
    rows = found.rows.total() if found.rows else 0
    verb = "open" if found.opened else "are well formed, of a key that opens, and where they belong"
    good = rows - len(found.findings)
    out.print(Text(f"{where}: {good:,} of {rows:,} values {verb}.", style="green" if found.sound else "yellow"))


def rotated(found: Rotation, where: str) -> None:
    """Print what a rotation did, and what comes next."""
    out = report.console()
    _findings(found.failed)
    would = "would be " if found.dry_run else ""
    parts = [f"{found.rotated:,} {_rows(found.rotated)} {would}re-encrypted under {found.primary}"]
    if found.changed:
        parts.append(f"{found.changed:,} changed by others meanwhile")
    parts.append(f"{len(found.failed):,} failed")
    out.print(
        Text(
            f"{where}: {', '.join(parts)}, in {found.seconds:.1f} s ({found.rate:,.0f} rows/s).",
            style="yellow" if found.failed or not found.finished else "green",
        )
    )
    if found.dry_run:
        out.print("Nothing was changed. Next: the same command without --dry-run")
    elif found.finished and not found.failed:
        left = [kid for kid in found.moved if kid and kid != found.primary]
        out.print("Every value is under the primary key. When every service has the new set, the old key can go:")
        for kid in left:
            out.print(f"  portaldb keys retire {kid}")
        if not left:
            out.print("  portaldb keys list, and portaldb keys retire KID for a key without rows")


def _findings(found: tuple[Finding, ...]) -> None:
    if found:
        out = report.console()
        out.print(report.table(("row", "reason"), [(str(each.id), each.reason) for each in found]))
        out.print()


@contextmanager
def progress(say: Say, doing: str) -> Iterator[tuple[Say, Callable[[int, int], None]]]:
    """Give a bar on a terminal, and elsewhere a line every few seconds; yields what tells lines and what tells rows."""
    out = report.console(stderr=True)
    if not out.is_terminal:
        yield say, _lines(say, doing)
        return
    columns = (
        TextColumn(doing),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    started = time.monotonic()
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task(doing, total=None, rate="")

        def watch(done: int, total: int) -> None:
            rate = done / max(time.monotonic() - started, 0.001)
            bar.update(task, completed=done, total=max(total, done), rate=f"{rate:,.0f}/s")

        def tell(line: str, *, passing: bool = False) -> None:
            if not passing:
                bar.console.print(line)

        yield tell, watch


def _lines(say: Say, doing: str) -> Callable[[int, int], None]:
    started, due = time.monotonic(), report.now_and_then()

    def watch(done: int, total: int) -> None:
        if not due():
            return
        rate = done / (time.monotonic() - started)
        left = f", about {max(total - done, 0) / rate:,.0f} s left" if rate else ""
        say(f"{doing}: {done:,} of {max(total, done):,} rows, {rate:,.0f} rows/s{left}")

    return watch


@contextmanager
def until_interrupted(say: Say) -> Iterator[Callable[[], bool]]:
    """Take the first Ctrl-C for a wish to stop after the batch under way; a second one ends it at once."""
    asked = False

    def ask(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say("Stopping after this batch.")

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)


def of(found: rotation.Progress) -> tuple[int, int]:
    """Return how many rows of a rotation are done, failed ones among them, and how many there are."""
    return found.done + found.failed, found.total


def _age(made_at: int | None) -> str:
    if made_at is None:
        return ""
    seconds = max(0, int(time.time()) - made_at)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return "new"


def _rows(count: int) -> str:
    return "row" if count == 1 else "rows"
