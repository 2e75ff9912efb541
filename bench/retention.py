"""Measure retention: whole partitions beside the specification's DELETE, sessions in batches beside one DELETE."""

import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import psycopg

from bench import page
from bench.database import migrated
from bench.measure import pgbench_times
from portaldb.cluster import Cluster
from portaldb.queries import split

DATABASE = "bench_retention"
CLIENTS = 4
RATE = 200
"""Entries a second that the writers add."""
NEW_PARTITION = 0.05
"""Seconds that making one may take."""
STALL = 100
"""Milliseconds under which 99 in 100 of the writers' transactions stay."""
HEAD = "| what | theirs | ours | ratio | aim | met |\n|---|---:|---:|---:|---|---|"


@dataclass(frozen=True)
class Cost:
    """What something took: rows, seconds, bytes of WAL, and of several calls the longest."""

    rows: int
    seconds: float
    wal: int
    longest: float


@click.command()
@click.option("--rows", default=5_000_000, show_default=True, help="Expired entries; as many again are young.")
@click.option("--sessions", default=2_000_000, show_default=True, help="Sessions; half of them have expired.")
@click.option(
    "--write", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="PAGE", help="Put it there."
)
def main(rows: int, sessions: int, write: Path | None) -> None:
    """Measure retention, a new partition and the cleanup of sessions beside plain DELETEs.

    Each side works on a copy of the same database. It takes about a quarter of an hour, and 15 GB of disk.

    \b
    Example:  python -m bench.retention --write docs/benchmark-retention.md
    """
    cluster = Cluster.create_throwaway(durable=True)
    try:
        _fill(cluster, rows, sessions)
        described = page.machine(cluster, ("alembic", "sqitch", "psql"))
        lines = [HEAD, *_retention(cluster, rows), *_sessions(cluster, sessions)]
    finally:
        cluster.destroy()
    text = "\n".join([*lines, "", f"{rows:,} expired entries and as many young ones.", "", described])
    click.echo(text)
    if write:
        page.write(write, text)


def _query(name: str) -> bytes:
    return split(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))[name].encode()


def _fill(cluster: Cluster, rows: int, sessions: int) -> None:
    url = cluster.url(DATABASE)
    migrated(url)
    now = datetime.now(UTC)
    month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    # Two whole months that have expired, however long ago the last began.
    old = (month - timedelta(days=62)).replace(day=1)
    older = (old - timedelta(days=20)).replace(day=1)
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET maintenance_work_mem = '512MB'")
        connection.execute(_query("users"))
        for moment in (older, old, month - timedelta(days=1), now):
            connection.execute("SELECT public.ensure_audit_partitions(0, %s)", [moment])
        started = time.perf_counter()
        parts = ((older, (old + timedelta(days=32)).replace(day=1), rows), (now - timedelta(days=29), now, rows))
        for since, until, count in parts:
            connection.execute(_query("trail"), {"since": since, "until": until, "rows": count})
        connection.execute(_query("sessions"), {"rows": sessions})
        connection.execute("VACUUM ANALYZE public.audit_logs")
        connection.execute("VACUUM ANALYZE public.user_sessions")
        connection.execute("CHECKPOINT")
        click.echo(f"filled in {time.perf_counter() - started:.0f} s", err=True)


@contextmanager
def _copy(cluster: Cluster) -> Iterator[str]:
    name = f"{DATABASE}_copy"
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE {DATABASE} STRATEGY file_copy OWNER mcp_admin".encode())
        server.execute("CHECKPOINT")
        try:
            yield name
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@contextmanager
def _measured(connection: psycopg.Connection) -> Iterator[list[float]]:
    """Yield what will hold the seconds and the bytes of WAL."""
    told: list[float] = []
    before = connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
    connection.commit()
    started = time.perf_counter()
    yield told
    told.append(time.perf_counter() - started)
    told.append(_one(connection, "SELECT pg_current_wal_insert_lsn() - %s::pg_lsn", before[0] if before else None))
    connection.commit()


def _one(connection: psycopg.Connection, statement: str, *values: object) -> float:
    row = connection.execute(statement.encode(), values).fetchone()
    return float(row[0]) if row else 0


def _delete(url: str, statement: str) -> Cost:
    with psycopg.connect(url) as connection:
        with _measured(connection) as told:
            connection.execute(_query("let_delete"))
            rows = connection.execute(_query(statement)).rowcount
            connection.commit()
        return Cost(rows, told[0], int(told[1]), told[0])


def _calls(url: str, function: str) -> Cost:
    """Call a cleanup until it returns 0, each call in a transaction, as run_job does."""
    rows, longest = 0, 0.0
    with psycopg.connect(url) as connection:
        with _measured(connection) as told:
            while True:
                started = time.perf_counter()
                done = int(_one(connection, f"SELECT public.{function}()"))
                connection.commit()
                longest = max(longest, time.perf_counter() - started)
                rows += done
                if not done:
                    break
        return Cost(rows, told[0], int(told[1]), longest)


def _retention(cluster: Cluster, rows: int) -> Iterator[str]:
    with _copy(cluster) as name:
        theirs = _delete(cluster.url(name), "delete_trail")
    with _copy(cluster) as name:
        with psycopg.connect(cluster.url(name)) as connection:
            present = 2 * rows
            started = time.perf_counter()
            connection.execute("SELECT public.ensure_audit_partitions(0, '2060-01-15')")
            connection.commit()
            made = time.perf_counter() - started
        ours = _calls(cluster.url(name), "cleanup_old_audit_logs")
    if not theirs.rows == ours.rows == rows:
        raise click.ClickException(f"not the same rows: {theirs.rows:,} and {ours.rows:,} of {rows:,}")
    yield _line("retention, time", f"{theirs.seconds:.1f} s", f"{ours.seconds:.2f} s",
                theirs.seconds / ours.seconds, "5 times faster", theirs.seconds >= 5 * ours.seconds)  # fmt: skip
    yield _line("retention, WAL", f"{theirs.wal / 2**20:.0f} MB", f"{ours.wal / 2**20:.2f} MB",
                theirs.wal / ours.wal, "1/100", theirs.wal >= 100 * ours.wal)  # fmt: skip
    yield f"| retention, longest call | | {ours.longest * 1000:.0f} ms | | | |"
    yield (f"| a new partition beside {present:,} entries | | {made * 1000:.0f} ms | | under 50 ms "
           f"| {'yes' if made < NEW_PARTITION else 'no'} |")  # fmt: skip
    with _copy(cluster) as name:
        alone = _writers(cluster, name, None)
        meanwhile = _writers(cluster, name, "cleanup_old_audit_logs")
    for what, times in (("alone", alone), ("beside retention", meanwhile)):
        at = statistics.quantiles(times, n=100)[98]
        met = "" if what == "alone" else ("yes" if at < STALL else "no")
        aim = "" if what == "alone" else "p99 under 100 ms"
        yield (f"| writers of the trail {what}: median, p99, longest | | {statistics.median(times):.1f}, {at:.1f}, "
               f"{max(times):.1f} ms | | {aim} | {met} |")  # fmt: skip


def _writers(cluster: Cluster, name: str, function: str | None) -> list[float]:
    """Return how long each of the writers' transactions took, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "writer.sql"
        script.write_bytes(_query("writer") + b"\n")
        url = cluster.url(name)
        late = threading.Timer(2, lambda: _calls(url, function) if function else None)
        late.start()
        times = pgbench_times(
            cluster,
            name,
            script,
            "-c",
            str(CLIENTS),
            "-j",
            "1",
            "-T",
            "10",
            "-R",
            str(RATE),
            options="-c role=portal_app",
        )
        late.join()
    return times


def _sessions(cluster: Cluster, sessions: int) -> Iterator[str]:
    with _copy(cluster) as name:
        theirs = _delete(cluster.url(name), "delete_sessions")
    with _copy(cluster) as name:
        ours = _calls(cluster.url(name), "cleanup_expired_sessions")
    if theirs.rows != ours.rows:
        raise click.ClickException(f"not the same sessions: {theirs.rows:,} and {ours.rows:,}")
    yield _line(f"cleanup of {ours.rows:,} of {sessions:,} sessions", f"{theirs.seconds:.1f} s",
                f"{ours.seconds:.1f} s", theirs.seconds / ours.seconds, "not slower",
                ours.seconds <= theirs.seconds)  # fmt: skip
    yield (f"| cleanup of sessions, longest call | {theirs.longest:.1f} s | {ours.longest:.2f} s | | under 1 s "
           f"| {'yes' if ours.longest < 1 else 'no'} |")  # fmt: skip


def _line(what: str, theirs: str, ours: str, ratio: float, aim: str, met: bool) -> str:
    return f"| {what} | {theirs} | {ours} | **{ratio:.1f}** | {aim} | {'yes' if met else 'no'} |"


if __name__ == "__main__":
    main()
