"""Measure what each index costs that the lints call redundant: its size, and what it adds to an INSERT."""

import os
import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from bench import page
from bench.database import migrated
from portaldb.cluster import Cluster
from portaldb.queries import split
from portaldb.verify import access

STEM = "0049_duplicate_index"
HEAD = (
    "| index | size per million rows | share of the table's indexes | an INSERT costs | of single pairs | WAL a row |\n"
    "|---|---:|---:|---:|---:|---:|"
)

Connection = psycopg.Connection[dict[str, Any]]


@dataclass
class Cost:
    """What was measured of one index; runs of equal index followed upon each other, in seconds of processor time."""

    index: str
    megabytes: float
    """Of a million rows of the table."""
    share: float
    having: list[float] = field(default_factory=list)
    without: list[float] = field(default_factory=list)
    wal: list[float] = field(default_factory=list)
    """Bytes of write-ahead log a row that the index adds."""

    def line(self) -> str:
        """Return its row of the table."""
        ratios = [100 * (mine / other - 1) for mine, other in zip(self.having, self.without, strict=True)]
        ratio = 100 * (statistics.median(self.having) / statistics.median(self.without) - 1)
        cells = (
            f"`{self.index}`",
            f"{self.megabytes:.1f} MB",
            f"{100 * self.share:.0f} %",
            f"**{ratio:+.1f} %**",
            f"{min(ratios):+.0f} to {max(ratios):+.0f} %",
            f"{statistics.median(self.wal):+.0f} B",
        )
        return f"| {' | '.join(cells)} |"


@click.command()
@click.option("--users", default=100_000, show_default=True, help="Users; of the rest there are ten times as many.")
@click.option("--batch", default=10_000, show_default=True, help="Rows of an INSERT that is timed.")
@click.option("--runs", default=7, show_default=True, help="Runs of each side.")
@click.option(
    "--write", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="PAGE", help="Put it there."
)
def main(users: int, batch: int, runs: int, write: Path | None) -> None:
    """Measure the redundant indexes that the access file accepts, on a server of its own.

    Both sides run by turns in transactions that are rolled back: an INSERT with the index, and one without it. What
    it costs is the processor time of the server's process, so it runs where /proc is.

    \b
    Example:  python -m bench.redundant_indexes --write docs/verify-lints/0049_duplicate_index.md
    """
    cluster = Cluster.create_throwaway(durable=True)
    try:
        url = cluster.url("bench_indexes")
        migrated(url)
        with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
            fill(connection, users)
            costs = []
            for cost in measure(connection, batch, runs):
                click.echo(cost.line(), err=True)
                costs.append(cost)
        table = "\n".join([HEAD, *(cost.line() for cost in costs)])
        told = (
            f"{users:,} users and servers, {10 * users:,} configurations, sessions and audit rows; {runs} runs of each "
            f"side, an INSERT of {batch:,} rows each."
        )
        text = f"{table}\n\n{told}\n\n{page.machine(cluster, ('alembic', 'sqitch', 'psql'))}"
    finally:
        cluster.destroy()
    click.echo(text)
    if write:
        page.write(write, text)


def fill(connection: Connection, users: int) -> None:
    """Fill the tables and let the server know what is in them."""
    connection.execute("SELECT public.ensure_audit_partitions(1, CURRENT_TIMESTAMP)")
    for table in ("users", "mcp_servers", "user_server_configs", "user_sessions", "audit_logs"):
        insert = _rows(connection, table, users if table in ("users", "mcp_servers") else 10 * users, skip=0)
        connection.execute(insert)
    connection.execute("VACUUM (ANALYZE)")
    connection.execute("CHECKPOINT")


def _rows(connection: Connection, table: str, rows: int, *, skip: int) -> sql.Composed:
    """Make rows once, aside, and return the statement that inserts them."""
    batch = sql.Identifier("pg_temp", f"{table}_{skip}")
    made = psycopg.ClientCursor(connection).mogrify(_query(table).encode(), {"rows": rows, "skip": skip})
    connection.execute(sql.SQL(_query("make")).format(batch=batch, rows=sql.SQL(made)))
    names = [column.name for column in connection.execute(sql.SQL("TABLE {}").format(batch)).description or ()]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    return sql.SQL(_query("insert")).format(table=sql.Identifier("public", table), columns=columns, batch=batch)


def measure(connection: Connection, batch: int, runs: int) -> Iterator[Cost]:
    """Measure one index after another; the sizes of all before anything is inserted and undone."""
    indexes = [name.split(".") for name in access.read().lints[STEM]]
    sizes = [_size(connection, *names) for names in indexes]
    inserts = {table: _rows(connection, table, batch, skip=10) for table in {table for _, table, _ in indexes}}
    for (schema, table, index), (megabytes, share) in zip(indexes, sizes, strict=True):
        cost = Cost(index, megabytes, share)
        drop = sql.SQL("DROP INDEX {}").format(sql.Identifier(schema, index))
        for turn in range(runs + 1):
            having, having_wal = _timed(connection, None, inserts[table])
            without, without_wal = _timed(connection, drop, inserts[table])
            if turn:  # the first fills the caches
                cost.having.append(having)
                cost.without.append(without)
                cost.wal.append((having_wal - without_wal) / batch)
            connection.execute(sql.SQL("VACUUM {}").format(sql.Identifier(schema, table)))
        yield cost


def _size(connection: Connection, schema: str, table: str, index: str) -> tuple[float, float]:
    """Return an index's megabytes for a million rows, and its share of the table's indexes."""
    query = sql.SQL(_query("size")).format(
        table=sql.Identifier(schema, table),
        name=sql.Literal(f"{schema}.{table}"),
        index=sql.Literal(f"{schema}.{index}"),
    )
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101 - an aggregate has one row
    return float(row["bytes"]) / row["rows"], float(row["share"])


def _timed(connection: Connection, drop: sql.Composed | None, insert: sql.Composed) -> tuple[float, float]:
    """Insert the rows, with or without the index, undo it; return the seconds and the bytes of log it took."""
    with connection.transaction(force_rollback=True):
        if drop:
            connection.execute(drop)
        before, began = _log(connection), _processor_time(connection)
        connection.execute(insert)
        return _processor_time(connection) - began, _log(connection) - before


def _processor_time(connection: Connection) -> float:
    """Return the seconds that the server's process was running: what else the machine does is not in them."""
    fields = Path(f"/proc/{connection.info.backend_pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _log(connection: Connection) -> float:
    row = connection.execute(_query("place")).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    return float(row["bytes"])


def _query(name: str) -> str:
    return split((Path(__file__).with_suffix(".sql")).read_text(encoding="utf-8"))[name]


if __name__ == "__main__":
    main()
