"""Measure the container runner beside `docker run` on a real engine, what it costs idle, and a table of 10,000 rows."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click
import docker
import docker.errors
import psycopg

from bench import page
from bench.database import migrated
from bench.measure import Times
from portaldb.cluster import Cluster, free_port
from portaldb.encryption import Keyring, config_context, encrypt
from portaldb.errors import PortalError

DATABASE, INSTANCE, LABEL = "bench_runner", "bench", "portaldb.runner"
AIMS = (1.3, 1.15)
HEAD = (
    "| What | runner | beside | | ratio | of single pairs | runs | aim | met |\n"
    "|---|---:|---|---:|---:|---:|---:|---|---|"
)
SWITCH = "UPDATE user_server_configs SET enabled = %s WHERE id = ANY(%s::uuid[])"
LEFT = "SELECT count(*) FROM user_server_configs WHERE id = ANY(%s::uuid[]) AND container_state IS DISTINCT FROM %s"
IMAGE = "portaldb-bench:1"

LIKE_OURS = (
    *("--interactive", "--init", "--network", "none", "--cap-drop", "ALL", "--security-opt", "no-new-privileges:true"),
    *("--memory", "512m", "--memory-swap", "512m", "--cpus", "1", "--pids-limit", "128", "--log-driver", "none"),
)
"""What the runner asks for as well; without a network a container starts sooner."""


@dataclass
class Bench:
    """A server with rows, and the engine."""

    url: str
    connection: "psycopg.Connection[tuple[Any, ...]]"

    def rows(self, count: int) -> list[str]:
        """Make configurations that are switched off."""
        with self.connection.cursor() as cursor:
            made = "INSERT INTO users (azure_oid, email) VALUES (%s, %s) RETURNING id"
            user = cursor.execute(made, [name := uuid.uuid4().hex, f"{name}@example.org"]).fetchone()
            cursor.execute(
                "WITH server AS (INSERT INTO mcp_servers (name, image) "
                "SELECT 's' || gen_random_uuid(), %s FROM generate_series(1, %s) RETURNING id) "
                "INSERT INTO user_server_configs (user_id, server_id, enabled) SELECT %s, id, false FROM server "
                "RETURNING id::text",
                [IMAGE, count, (user or [""])[0]],
            )
            return [row[0] for row in cursor.fetchall()]

    def switch(self, ids: list[str], enabled: bool) -> float:
        """Switch rows on or off, and return after how many seconds the last has come to where it should be."""
        wanted = "running" if enabled else "stopped"
        with psycopg.connect(self.url, autocommit=True) as ears:
            ears.execute("LISTEN portal_state")
            begun = time.perf_counter()
            self.connection.execute(SWITCH, [enabled, ids])
            for _ in ears.notifies(timeout=120):
                if self.connection.execute(LEFT, [ids, wanted]).fetchone() == (0,):
                    return time.perf_counter() - begun
        raise PortalError(f"the rows did not come to '{wanted}' within two minutes")

    def keep_secret(self, config: str, keyring: Keyring) -> None:
        """Give a row something to be kept secret."""
        place = "SELECT user_id, server_id FROM user_server_configs WHERE id = %s"
        user, server = self.connection.execute(place, [config]).fetchone() or ("", "")
        value = encrypt('{"token": "x"}', keyring, context=config_context(user, server))
        self.connection.execute("UPDATE user_server_configs SET encrypted_config = %s WHERE id = %s", [value, config])

    def running_already(self, ids: list[str]) -> None:
        """Say of rows that their containers run, and are named as they are."""
        self.connection.execute(
            "UPDATE user_server_configs SET enabled = true, container_state = 'running', container_id = id::text, "
            "last_state_change = now() WHERE id = ANY(%s::uuid[])",
            [ids],
        )

    def started(self, ids: list[str]) -> Callable[[], float]:
        """Return what switches rows on, times it, and switches them off again."""

        def start() -> float:
            took = self.switch(ids, True)
            self.switch(ids, False)
            return took

        return start

    def beside(self, ours: Callable[[], float], theirs: Callable[[], float], runs: int) -> Times:
        """Time both by turns, after one of each that does not count."""
        pairs = [(ours(), theirs()) for _ in range(runs + 1)][1:]
        return Times([mine for mine, _ in pairs], [other for _, other in pairs])


@contextmanager
def runner(url: str, *options: str, engine: str | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """Keep a runner under way."""
    argv = [sys.executable, "-m", "portaldb", "runner", "run", "--instance", INSTANCE, *options]
    environment = os.environ | {"DATABASE_URL": url} | ({"DOCKER_HOST": engine} if engine else {})
    with subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE) as process:
        try:
            said = process.stderr
            first = said.readline() if said else b""
            if not said or b" connected " not in first:
                raise PortalError(f"the runner did not start: {first.decode().strip()}")
            threading.Thread(target=said.read, daemon=True).start()
            yield process
        finally:
            process.terminate()


def removed(*labels: str) -> None:
    """Take the containers of a label away."""
    api = docker.from_env().api
    for label in labels:
        for each in api.containers(all=True, filters={"label": label}):
            with suppress(docker.errors.APIError):
                api.remove_container(each["Id"], force=True)


def by_command(count: int) -> Callable[[], float]:
    """Return what starts so many with the command, four at a time, times it, and takes them away."""
    return partial(_docker_run, count)


def _docker_run(count: int) -> float:
    argv = ["docker", "run", "--detach", "--label", "portaldb.bench", *LIKE_OURS, IMAGE]
    begun = time.perf_counter()
    if count == 1:
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    else:
        subprocess.run(
            ["xargs", "-P4", "-I{}", *argv],
            input="\n".join(map(str, range(count))),
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
        )
    took = time.perf_counter() - begun
    removed("portaldb.bench")
    return took


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has had."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def statements(connection: "psycopg.Connection[tuple[Any, ...]]") -> int:
    """Return how many statements the runner's role has had."""
    found = connection.execute(
        "SELECT coalesce(sum(s.calls), 0)::bigint FROM pg_stat_statements AS s "
        "INNER JOIN pg_roles AS r ON r.oid = s.userid WHERE r.rolname = 'portal_runner'"
    ).fetchone()
    return int((found or [0])[0])


@contextmanager
def many(containers: list[dict[str, Any]]) -> Iterator[str]:
    """Pose as an engine that lists these containers, and return its address."""
    listed = json.dumps(containers).encode()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            """Answer with the version, the list, or nothing."""
            if "/events" in self.path:
                time.sleep(3600)
            answers = {"/version": b'{"ApiVersion": "1.41"}', "/containers/json": listed}
            body = next((text for path, text in answers.items() if path in self.path), b'{"Volumes": []}')
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def line(what: str, beside: str, times: Times, aim: float | None) -> str:
    """Return a row of the table."""
    ours, theirs = statistics.median(times.ours), statistics.median(times.theirs)
    spread = f"{min(times.ratios):.2f} to {max(times.ratios):.2f}"
    cells = (
        *(what, f"{ours * 1000:,.0f} ms", f"`{beside}`", f"{theirs * 1000:,.0f} ms", f"**{times.ratio:.2f}**", spread),
        *(str(len(times.ours)), *((f"under {aim} times", "yes" if times.ratio < aim else "no") if aim else ("", ""))),
    )
    return f"| {' | '.join(cells)} |"


def idle(bench: Bench, seconds: int, rows: int) -> str:
    """Return what a runner costs that has nothing to do."""
    with runner(bench.url) as process:
        bench.switch(ids := bench.rows(rows), True)
        time.sleep(2)
        before = statements(bench.connection), cpu_seconds(process.pid)
        time.sleep(seconds)
        after = statements(bench.connection), cpu_seconds(process.pid)
        bench.switch(ids, False)
    asked, used = (after[0] - before[0]) * 60 / seconds, (after[1] - before[1]) * 3600 / seconds
    return (
        f"- idle with {rows} containers, over {seconds} s: **{asked:.0f} statements a minute**, "
        f"**{used:.0f} CPU seconds an hour**"
    )


def nothing_to_do(bench: Bench, count: int) -> str:
    """Return how long a look over so many rows takes that are as they should be, and the memory at most."""
    from portaldb.runner.store import Store

    bench.running_already(ids := bench.rows(count))
    store = Store(bench.url, "bench", 60)
    try:
        stamps = {str(row.id): row.stamp for row in store.rows()}
    finally:
        store.close()
    listed = [_listed(each, stamps[each].generation, stamps[each].settings) for each in ids]
    port = free_port()
    with many(listed) as engine, runner(bench.url, "--resync", "2", "--listen", f":{port}", engine=engine) as process:
        took: list[float] = []
        for _ in range(6):
            time.sleep(2.5)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
                figures = dict(each.rsplit(" ", 1) for each in answer.read().decode().splitlines())
            took.append(float(figures["portaldb_runner_look_seconds"]))
            if any('state="creating"' in name or 'event="start"' in name for name in figures):
                raise PortalError("there was something to do, so it was no measurement")
        status = Path(f"/proc/{process.pid}/status").read_text()
    peak = next(int(each.split()[1]) / 1024 for each in status.splitlines() if each.startswith("VmHWM"))
    median = statistics.median(took)
    return (
        f"- a look over {count:,} rows and as many containers, nothing to do: **{median:.2f} s** ({min(took):.2f} to "
        f"{max(took):.2f}; aim: under 1 s, {'met' if median < 1 else 'not met'}), "
        f"**{peak:.0f} MB** at most (aim: under 100 MB, {'met' if peak < 100 else 'not met'})"  # noqa: PLR2004 - the aim
    )


def _listed(config: str, generation: str, settings: str) -> dict[str, Any]:
    """Return a container as the engine lists it, with what the runner does not read as well."""
    named = {"config": config, "role": "server", "generation": generation, "settings": settings, "restart": ""}
    return {
        "Id": config,
        "Names": [f"/portaldb-{INSTANCE}-{config.replace('-', '')}"],
        "Image": IMAGE,
        "ImageID": f"sha256:{'0' * 64}",
        "Command": "/server",
        "Created": 1700000000,
        "Ports": [],
        "Labels": {LABEL: INSTANCE} | {f"{LABEL}.{name}": value for name, value in named.items()},
        "State": "running",
        "Status": "Up 2 hours",
        "HostConfig": {"NetworkMode": "none"},
        "NetworkSettings": {"Networks": {"none": {"NetworkID": "0" * 64, "EndpointID": "0" * 64, "Gateway": ""}}},
        "Mounts": [],
    }


def _image() -> None:
    """Make an image that waits for input, of Debian's busybox-static."""
    from portaldb.runner.holder import tar

    busybox = Path("/bin/busybox")
    if not busybox.exists():
        raise PortalError("the benchmark makes its image of busybox: apt-get install busybox-static")
    repository, tag = IMAGE.split(":")
    docker.from_env().api.import_image_from_data(
        tar("busybox", busybox.read_bytes(), 0o755),
        repository=repository,
        tag=tag,
        changes=['ENTRYPOINT ["/busybox", "cat"]'],
    )


@click.command()
@click.option("--runs", default=15, show_default=True, help="Starts of one container.")
@click.option("--together", default=5, show_default=True, help="Starts of many at once.")
@click.option("--many", "rows", default=30, show_default=True, help="How many that are.")
@click.option("--idle", "seconds", default=120, show_default=True, help="Seconds with nothing to do.")
@click.option("--table", default=10_000, show_default=True, help="Rows of the large table.")
@click.option(
    "--write", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="PAGE", help="Put it there."
)
def main(runs: int, together: int, rows: int, seconds: int, table: int, write: Path | None) -> None:
    """Measure the runner beside `docker run`, idle, and over a large table; on the engine that is here.

    \b
    Example:  python -m bench.runner --write docs/benchmark-runner.md
    """
    _image()
    cluster = Cluster.create_throwaway(durable=True)
    lines = [HEAD]
    try:
        described = page.machine(cluster, ("alembic", "sqitch", "psql"))
        url = cluster.url(DATABASE)
        migrated(url)
        with tempfile.TemporaryDirectory() as folder, psycopg.connect(url, autocommit=True) as connection:
            bench = Bench(url, connection)
            keys = Path(folder) / "keys.json"
            subprocess.run([sys.executable, "-m", "portaldb", "keys", "generate", "--keys", keys], check=True)
            one, secret, several = bench.rows(1), bench.rows(1), bench.rows(rows)
            bench.keep_secret(secret[0], Keyring.load(keys))
            with runner(url, "--keys", str(keys)):
                for what, ids, repeated, aim in (
                    ("enable → running", one, runs, AIMS[0]),
                    ("enable → running, with a secret in a file", secret, runs, None),
                    (f"enable → running, {rows} rows", several, together, AIMS[1]),
                ):
                    times = bench.beside(bench.started(ids), by_command(len(ids)), repeated)
                    command = "docker run -d" if len(ids) == 1 else "xargs -P4 docker run -d"
                    lines.append(line(what, command, times, aim))
                    click.echo(lines[-1], err=True)
            lines.append("")
            for told in (idle(bench, seconds, rows), nothing_to_do(bench, table)):
                lines.append(told)
                click.echo(told, err=True)
    finally:
        removed("portaldb.bench", f"{LABEL}={INSTANCE}")
        cluster.destroy()
    text = "\n".join([*lines, "", described, f"- Engine: Docker {docker.from_env().version()['Version']}"])
    click.echo(text)
    if write:
        page.write(write, text)


if __name__ == "__main__":
    main()
