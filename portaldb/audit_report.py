"""What the commands of the audit trail tell a person."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from portaldb import report
from portaldb.engine import Say


@contextmanager
def progress(say: Say) -> Iterator[Callable[[int, float], None]]:
    """Give a bar on a terminal, elsewhere a line every few seconds: entries, and the part of the time they reach."""
    out = report.console(stderr=True)
    if not out.is_terminal:
        yield _lines(say)
        return
    columns = (
        TextColumn("exporting"),
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]}"),
    )
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task("exporting", total=1.0, rows="")

        def watch(done: int, part: float) -> None:
            bar.update(task, completed=part, rows=f"{done:,} entries")

        yield watch


def _lines(say: Say) -> Callable[[int, float], None]:
    due = report.now_and_then()

    def watch(done: int, part: float) -> None:
        if due():
            say(f"exporting: {done:,} entries, {part:.0%} of the time")

    return watch


def line(entry: dict[str, Any]) -> str:
    """Return an entry as a line that a person reads; what it holds is shown, never obeyed by the terminal."""
    parts = [entry["timestamp"], entry["action"], entry["user_id"] or "-"]
    thing = ":".join(str(each) for each in (entry["resource_type"], entry["resource_id"]) if each)
    parts += [thing or "-", entry["ip_address"] or "-", entry["details"] or "", entry["user_agent"] or ""]
    return "  ".join(_plain(str(each)) for each in parts).rstrip()


def _plain(text: str) -> str:
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)
