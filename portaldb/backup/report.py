"""What the commands of backups tell a person."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from portaldb import drift_report, report
from portaldb.backup import record
from portaldb.backup.check import Checked
from portaldb.backup.make import Made
from portaldb.backup.restore import Planned, Restored
from portaldb.drift import Outcome


def made(found: Made) -> None:
    """Print where a backup is, and what to do with it."""
    out = report.console()
    manifest = found.manifest
    dump = found.folder / record.dump_name(manifest.date)
    facts = f"{len(manifest.tables)} tables, {manifest.rows:,} rows, {report.pretty_bytes(manifest.bytes)}"
    out.print(Text(f"{dump}: {manifest.database}, {facts}, in {found.seconds:.1f} s.", style="green"), soft_wrap=True)
    for date in found.removed:
        out.print(f"Removed the backup of {date}.")
    out.print("The keys of encrypted values are not in it: keep the key file elsewhere.")
    out.print(f"Next: portaldb backup verify {dump}", soft_wrap=True)


def removes(planned: Planned, where: str) -> None:
    """Print what a restore takes away."""
    out = report.console(stderr=True)
    out.print(f"To be removed from {where}, in the transaction that restores:\n")
    shown = planned.removes[:20]
    for each in shown:
        out.print(f"  {each}")
    if len(planned.removes) > len(shown):
        out.print(f"  and {len(planned.removes) - len(shown)} more")
    out.print()


def restored(done: Restored, where: str) -> None:
    """Print what was restored, and what comes next."""
    out = report.console()
    manifest = done.manifest
    out.print(
        Text(
            f"{where}: {manifest.rows:,} rows of {len(manifest.tables)} tables, as {manifest.database} had them at "
            f"{manifest.taken_at}, compared table by table, in {done.seconds:.1f} s.",
            style="green",
        ),
        soft_wrap=True,
    )
    for note in done.notes:
        out.print(Text(note, style="yellow"), soft_wrap=True)
    out.print("Next: portaldb status; portaldb drift; portaldb verify --live")


def checked(found: Checked) -> None:
    """Print what a check found."""
    out = report.console()
    manifest = found.manifest
    how = "restored, and every table is as it was" if found.restored else "every file is as it was written"
    facts = f"{len(manifest.files)} files, {report.pretty_bytes(manifest.bytes)}, {manifest.rows:,} rows"
    out.print(Text(f"The backup of {manifest.date}, {facts}: {how}, in {found.seconds:.1f} s.", style="green"))
    if found.differences:
        drift_report.show(Outcome(found.differences, 0, None, 0, 0, {}), "the restored database")


@contextmanager
def progress() -> Iterator[tuple[Callable[[str], None], Callable[[str], Callable[[int, int], None]]]]:
    """Give a bar on a terminal, and elsewhere a line every few seconds.

    Yields what tells a line, and what begins a task and returns what is told its bytes: done, and all.
    """
    out = report.console(stderr=True)
    if not out.is_terminal:
        yield (lambda line: out.print(line, soft_wrap=True)), (lambda doing: _lines(out.print, doing))
        return
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=None), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True) as bar:

        def begin(doing: str) -> Callable[[int, int], None]:
            task = bar.add_task(doing, total=None)
            return lambda done, total: bar.update(task, completed=done, total=max(total, done, 1))

        yield (lambda line: bar.console.print(line, soft_wrap=True)), begin


def _lines(say: Callable[[str], None], doing: str) -> Callable[[int, int], None]:
    due = report.now_and_then()

    def watch(done: int, total: int) -> None:
        if due():
            say(f"{doing}: {report.pretty_bytes(done)} of {report.pretty_bytes(max(total, done))}")

    return watch
