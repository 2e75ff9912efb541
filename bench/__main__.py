"""Measure portaldb beside psql, yoyo, alembic and sqitch on a server of its own, and print the table."""

import statistics
import tempfile
from pathlib import Path

import click

from bench import page
from bench.measure import FEWEST, by_turns
from bench.rows import INSTALL, Bench, missing
from portaldb.cluster import Cluster
from portaldb.errors import PortalError


@click.command()
@click.option("--runs", type=click.IntRange(min=FEWEST), help="Runs of each side. Default: each row's own number.")
@click.option("--without", multiple=True, type=click.Choice(sorted(INSTALL)), help="Leave this tool's row out.")
@click.option(
    "--write",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="PAGE",
    help="Put the table into this page as well, between its marks.",
)
def main(runs: int | None, without: tuple[str, ...], write: Path | None) -> None:
    """Measure portaldb beside psql, yoyo, alembic and sqitch.

    Both sides of a row run by turns on the same server, which this makes, which keeps what it commits (fsync is
    on), and which is gone afterwards. Leave the machine alone meanwhile: it takes a few minutes.

    \b
    Example:  python -m bench --write docs/benchmarks.md
    """
    absent = [name for name in missing() if name not in without]
    if absent:
        told = "\n".join(f"  {name}: {INSTALL[name]}, or go on --without {name}" for name in absent)
        raise click.ClickException(f"these rows cannot be measured, because their tool is not installed:\n{told}")
    try:
        table = _measure(runs, frozenset(without))
    except PortalError as error:
        raise click.ClickException(str(error)) from None
    click.echo(table)
    if write:
        page.write(write, table)


def _measure(runs: int | None, without: frozenset[str]) -> str:
    cluster = Cluster.create_throwaway(durable=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            described = page.machine(cluster, without)
            lines = [page.HEAD]
            for row in Bench(cluster, Path(folder), without).rows():
                times = by_turns(row.ours, row.theirs, runs or row.runs)
                lines.append(page.line(row, times))
                ours = statistics.median(times.ours) * 1000
                click.echo(f"{row.what}: {ours:.0f} ms, {times.ratio:.2f} times {row.theirs.name}", err=True)
    finally:
        cluster.destroy()
    lines += [f"| not measured: `{name}` | | | | | | | | |" for name in sorted(without)]
    return "\n".join([*lines, "", described])


if __name__ == "__main__":
    main()
