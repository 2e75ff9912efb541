"""Measure `portaldb backup` beside plain pg_dump of the same format, and a restore beside plain pg_restore."""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import psycopg

from bench import page
from bench.database import migrated
from bench.measure import FEWEST, Side, by_turns
from portaldb.cluster import Cluster
from portaldb.database import with_database
from portaldb.errors import PortalError

AIM = 1.1

ROWS = """
INSERT INTO public.users (azure_oid, email, display_name)
SELECT 'oid-' || g, 'user' || g || '@example.org', 'User ' || g FROM generate_series(1, {users}) AS g;
INSERT INTO public.user_sessions (user_id, session_token, expires_at)
SELECT u.id, encode(sha256(u.azure_oid::bytea), 'hex'), now() + interval '1 day' FROM public.users AS u;
INSERT INTO public.audit_logs (user_id, action, details, ip_address, timestamp)
SELECT u.id, 'login', jsonb_build_object('g', g, 'how', md5(u.azure_oid)), '192.0.2.1', now() - g * interval '3 hours'
FROM public.users AS u CROSS JOIN generate_series(1, 10) AS g;
"""


@click.command()
@click.option("--users", type=click.IntRange(1000), default=100_000, show_default=True, help="And ten entries each.")
@click.option("--runs", type=click.IntRange(min=FEWEST), default=FEWEST, show_default=True, help="Runs of each side.")
@click.option(
    "--write",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="PAGE",
    help="Put the table into this page as well, between its marks.",
)
def main(users: int, runs: int, write: Path | None) -> None:
    """Measure a backup beside plain pg_dump.

    Both sides run by turns on the same server, which this makes, and write to the same disk.

    \b
    Example:  python -m bench.backup --write docs/benchmark-backup.md
    """
    try:
        table = _measure(users, runs)
    except PortalError as error:
        raise click.ClickException(str(error)) from None
    click.echo(table)
    if write:
        page.write(write, table)


def _measure(users: int, runs: int) -> str:
    cluster = Cluster.create_throwaway(durable=True)
    try:
        url = cluster.url("backup")
        migrated(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(ROWS.format(users=users).encode())
            connection.execute("VACUUM ANALYZE")
            size = connection.execute("SELECT pg_size_pretty(pg_database_size(current_database()))").fetchone()
            row = connection.execute("SELECT count(*) FROM public.audit_logs").fetchone()
        lines = [
            "| what | portaldb | beside | | ratio | of single pairs | runs | aim | met |",
            "|---|---:|---|---:|---:|---:|---:|---|---|",
        ]
        with tempfile.TemporaryDirectory(prefix="bench-backup-") as folder:
            for form, jobs in (("custom", 1), ("directory", 1), ("directory", 2)):
                lines.append(_row(cluster, url, Path(folder), form, jobs, runs))
                click.echo(lines[-1], err=True)
        facts = f"- Database: {size[0] if size else ''}, {row[0] if row else 0:,} audit entries, {users:,} users"
        return "\n".join([*lines, "", facts, page.machine(cluster, {"alembic", "sqitch", "psql"})])
    finally:
        cluster.destroy()


def _row(cluster: Cluster, url: str, folder: Path, form: str, jobs: int, runs: int) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    target = folder / "ours"

    def clear() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        target.mkdir(parents=True)
        subprocess.run(["sync"], check=True)

    ours = Side(
        "portaldb backup",
        [sys.executable, "-m", "portaldb", "backup", "--folder", str(target), "--format", form, "--jobs", str(jobs)],
        environment | {"DATABASE_URL": with_database(url, "backup")},
        Path.cwd(),
        clear,
    )
    parallel = [f"--jobs={jobs}"] if form == "directory" else []
    theirs = Side(
        f"pg_dump --format={form}" + (f" --jobs={jobs}" if parallel else ""),
        [str(cluster.programs / "pg_dump"), "-d", url, f"--format={form}", *parallel, f"--file={folder}/theirs.dump"],
        environment,
        Path.cwd(),
        clear,
    )
    times = by_turns(ours, theirs, runs)
    cells = (
        f"`portaldb backup --format {form}" + (f" --jobs {jobs}`" if parallel else "`"),
        f"{statistics.median(times.ours):.2f} s",
        f"`{theirs.name}`",
        f"{statistics.median(times.theirs):.2f} s",
        f"**{times.ratio:.2f}**",
        f"{min(times.ratios):.2f} to {max(times.ratios):.2f}",
        str(len(times.ours)),
        f"{AIM} times",
        "yes" if times.ratio <= AIM else "no",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
