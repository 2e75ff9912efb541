"""Measure what grows how: bytes a row, and what the usual questions cost, at two sizes."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import psycopg
from psycopg import sql

from bench import page
from bench.database import migrated
from bench.rows import environment
from portaldb.cluster import Cluster
from portaldb.errors import PortalError

FILL = (
    "SELECT public.ensure_audit_partitions(0, now() - interval '1 month')",
    """
    INSERT INTO public.mcp_servers (name, image, catalog_type)
    SELECT 'service-' || g, 'registry.example/service-' || g || ':1', 'predefined'
    FROM generate_series((SELECT count(*) FROM public.mcp_servers) + 1, 200) AS g
    """,
    """
    INSERT INTO public.users (azure_oid, email, display_name)
    SELECT md5('oid' || g), 'user' || g || '@example.org', 'User ' || g
    FROM generate_series({before} + 1, {users}) AS g
    """,
    """
    INSERT INTO public.user_sessions (user_id, session_token, refresh_token, expires_at)
    SELECT
        u.id, encode(sha256(u.azure_oid::bytea), 'hex'), encode(sha256(u.email::bytea), 'hex'),
        now() + interval '8 h'
    FROM public.users AS u ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO public.user_server_configs (user_id, server_id, enabled, container_state)
    SELECT u.id, s.id, true, 'running'
    FROM generate_series({before} + 1, {users}) AS g
    INNER JOIN public.users AS u ON u.azure_oid = md5('oid' || g)
    INNER JOIN (SELECT m.id, row_number() OVER (ORDER BY m.id) AS n FROM public.mcp_servers AS m) AS s
        ON s.n IN (g % 200 + 1, (g * 7 + 3) % 199 + 1)
    ON CONFLICT DO NOTHING
    """,
    """
    INSERT INTO public.audit_logs (
        user_id, action, resource_type, resource_id, details, ip_address, user_agent, timestamp
    )
    SELECT
        u.id, 'config_updated', 'user_server_config', u.id, jsonb_build_object('server', g, 'old', 'off', 'new', 'on'),
        '192.0.2.1', 'Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101', now() - (g - 1) * interval '3 days'
    FROM public.users AS u CROSS JOIN generate_series(1, 10) AS g
    WHERE u.azure_oid IN (SELECT md5('oid' || g) FROM generate_series({before} + 1, {users}) AS g)
    """,
)

TABLES = ("users", "user_sessions", "user_server_configs", "audit_logs")

QUESTIONS = {
    "a session by its token":
        "SELECT user_id FROM public.user_sessions WHERE session_token = encode(sha256({oid}), 'hex')",
    "a user's dashboard, as the user": "SELECT * FROM public.user_dashboard",
    "the newest 50 entries of a user, as the owner":
        "SELECT * FROM public.audit_logs WHERE user_id = {user} ORDER BY timestamp DESC LIMIT 50",
    "the 24 hours of `monitor_audit_summary`": "SELECT * FROM public.monitor_audit_summary",
    "`monitor_container_status`": "SELECT * FROM public.monitor_container_status",
    "`monitor_encryption_keys`": "SELECT * FROM public.monitor_encryption_keys",
}  # fmt: skip


@click.command()
@click.option("--users", type=click.IntRange(1000), default=500_000, show_default=True, help="And ten entries each.")
@click.option(
    "--write",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="PAGE",
    help="Put the tables into this page as well, between its marks.",
)
def main(users: int, write: Path | None) -> None:
    """Measure at a tenth of --users and at all of them.

    \b
    Example:  python -m bench.scale --write docs/scale.md
    """
    try:
        table = _measure(users)
    except PortalError as error:
        raise click.ClickException(str(error)) from None
    click.echo(table)
    if write:
        page.write(write, table)


def _measure(users: int) -> str:
    cluster = Cluster.create_throwaway(durable=True)
    try:
        url = cluster.url("scale")
        migrated(url)
        sizes: dict[str, tuple[int, int]] = {}
        times: dict[str, list[str]] = {name: [] for name in QUESTIONS}
        before = 0
        with psycopg.connect(url, autocommit=True) as connection:
            for count in (users // 10, users):
                started = time.perf_counter()
                for text in FILL:
                    connection.execute(text.format(before=before, users=count).encode())
                connection.execute("VACUUM ANALYZE")
                click.echo(f"{count:,} users: filled in {time.perf_counter() - started:.0f} s", err=True)
                before = count
                for name, question in QUESTIONS.items():
                    times[name].append(_ask(connection, name, question))
            for table in TABLES:
                sizes[table] = _size(connection, table)
        commands = _commands(cluster, url)
        return _render(users, sizes, times, commands, page.machine(cluster, {"alembic", "sqitch", "psql"}))
    finally:
        cluster.destroy()


def _ask(connection: psycopg.Connection, name: str, question: str) -> str:
    found = connection.execute(
        "SELECT id::text, azure_oid FROM public.users OFFSET (SELECT reltuples::bigint / 2 FROM pg_class "
        "WHERE oid = 'public.users'::regclass) LIMIT 1"
    ).fetchone()
    assert found is not None  # noqa: S101 - users were made
    text = question.format(user=f"'{found[0]}'", oid=f"'{found[1]}'")
    taken = []
    for _ in range(6):
        with connection.transaction(force_rollback=True):
            if "as the user" in name:
                connection.execute("SELECT set_config('app.current_user_id', %s, true)", [found[0]])
                connection.execute("SET LOCAL ROLE portal_app")
            started = time.perf_counter()
            connection.execute(text.encode()).fetchall()
            taken.append(time.perf_counter() - started)
    return f"{statistics.median(taken[1:]) * 1000:,.1f} ms"


def _size(connection: psycopg.Connection, table: str) -> tuple[int, int]:
    row = connection.execute(
        sql.SQL(
            "SELECT (SELECT count(*) FROM public.{name}), coalesce((SELECT sum(pg_total_relation_size(t.relid)) "
            "FROM pg_partition_tree({text}::regclass) AS t), pg_total_relation_size({text}::regclass))"
        ).format(name=sql.Identifier(table), text=sql.Literal(f"public.{table}"))
    ).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def _commands(cluster: Cluster, url: str) -> list[tuple[str, float]]:
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as folder:
        target = cluster.url("scale_copy")
        portaldb: Callable[..., list[str]] = lambda *words: [sys.executable, "-m", "portaldb", *words]  # noqa: E731
        timed = []
        for name, argv, database in (
            ("`portaldb backup --jobs 2`", portaldb("backup", "--folder", folder), url),
            ("", portaldb("init", "--locale", "C.UTF-8"), target),
            ("`portaldb restore --jobs 2`, compared", portaldb("restore", folder), target),
            ("`portaldb status`", portaldb("status"), url),
        ):
            started = time.perf_counter()
            done = subprocess.run(
                argv, env=environment() | {"DATABASE_URL": database}, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise PortalError(f"{name} failed: {done.stderr[-600:]}")
            if name:
                timed.append((name, time.perf_counter() - started))
        return timed


def _render(
    users: int,
    sizes: dict[str, tuple[int, int]],
    times: dict[str, list[str]],
    commands: list[tuple[str, float]],
    described: str,
) -> str:
    lines = ["| table | rows | size with indexes | bytes a row |", "|---|---:|---:|---:|"]
    lines += [
        f"| `{name}` | {rows:,} | {size / 2**20:,.0f} MB | {size / rows:,.0f} |" for name, (rows, size) in sizes.items()
    ]
    lines += ["", f"| question | {users // 10:,} users | {users:,} users |", "|---|---:|---:|"]
    lines += [f"| {name} | {' | '.join(each)} |" for name, each in times.items()]
    lines += ["", f"| command, {users:,} users | time |", "|---|---:|"]
    lines += [f"| {name} | {seconds:,.0f} s |" for name, seconds in commands]
    return "\n".join([*lines, "", described])


if __name__ == "__main__":
    main()
