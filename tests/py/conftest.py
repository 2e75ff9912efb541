"""What the tests share: a server, fresh databases on it, logins, and the command as a subprocess.

The server is a throwaway cluster by default. With `pytest --postgres 17` it is PostgreSQL 17 in a container, from
an image that is built here; with `--postgres URL` (or PORTALDB_TEST_SERVER) any other, as its superuser. Tests that
need no server are left out then: they have run without.
"""

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import psycopg
import pytest
from browser import MISSING as BROWSER_MISSING
from libraries import MISSING as NODE_MISSING
from psycopg import conninfo, sql

from bench.pooler import pooling
from portaldb.cluster import Cluster
from portaldb.programs import find_programs

# A shell that starts pytest in the background has it ignore Ctrl-C, and what pytest starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parents[2]
Completed = subprocess.CompletedProcess[str]


ENGINE_MISSING = "needs a Docker engine, and none answers here (start one, or look what 'docker info' says)"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --postgres, --seed and --pgtap."""
    parser.addoption(
        "--postgres",
        metavar="17|URL",
        default=os.environ.get("PORTALDB_TEST_SERVER"),
        help="the server: 17 for a container, or a superuser's URL; default: a throwaway cluster",
    )
    parser.addoption(
        "--seed", type=int, default=secrets.randbits(32), help="of what tests choose at random; default: another one"
    )
    parser.addoption("--pgtap", metavar="FILE", action="append", help="run these files of tests/sql alone")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --postgres, leave out what does not ask the server, or asks the throwaway cluster: it has run without."""
    if config.getoption("--postgres"):
        asking = {"server", "fresh"}
        names = {item: getattr(item, "fixturenames", ()) for item in items}
        left_out = [item for item in items if asking.isdisjoint(names[item]) or "cluster" in names[item]]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@cache
def engine_answers() -> bool:
    """Say whether there is a Docker engine to be had."""
    try:
        return subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def require_engine() -> None:
    """Leave a test that needs Docker out where there is none, and say so; where CI runs, that is a failure."""
    if not engine_answers():
        if os.environ.get("CI") == "true":
            pytest.fail(ENGINE_MISSING, pytrace=False)
        pytest.skip(ENGINE_MISSING)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """See to the engine that a test marked `docker` needs."""
    if item.get_closest_marker("docker"):
        require_engine()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Give the seed, and name what was not run for want of something: a skip must not pass for a success."""
    terminalreporter.write_line(f"Seed of what was chosen at random: --seed {terminalreporter.config.option.seed}")
    skipped = terminalreporter.getreports("skipped")
    for missing in (ENGINE_MISSING, BROWSER_MISSING, NODE_MISSING):
        without = [report for report in skipped if missing in str(report.longrepr)]
        if without:
            terminalreporter.write_line(f"NOT RUN: {len(without)} tests; each {missing}.", red=True)


class MakeDatabase(Protocol):
    """Make a database that goes with the test: empty, after `init`, or with every migration applied."""

    def __call__(self, name: str | None = None, *, init: bool = True, migrate: bool = False) -> str:
        """Return its URL, as the superuser."""
        ...


class Login(Protocol):
    """Make a login that is a member of a role and logs in with a password, as a service does."""

    def __call__(self, database: str, role: str | None = None, options: str = "") -> str:
        """Return the database's URL for it; `options` are CREATE ROLE's."""
        ...


class Portaldb(Protocol):
    """Run the command as a person would: another process, an environment without their settings."""

    def __call__(
        self,
        *args: str,
        database: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        cwd: Path | None = None,
        check: bool = False,
        timeout: float = 120,
    ) -> Completed:
        """Return its exit status and output; with `check` a failure fails the test and shows both."""
        ...


class Pooler(Protocol):
    """Start PgBouncer before a server; it ends with the test."""

    def __call__(self, url: str, *settings: str) -> str:
        """Return the URL through the pooler, which logs in as `url` says; `settings` are lines of its file."""
        ...


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Make a cluster for this session: gone at its end, and quick because it survives no crash."""
    cluster = Cluster.create_throwaway()
    yield cluster
    cluster.destroy()


@dataclass(frozen=True)
class Container:
    """A PostgreSQL in a container: its superuser's URL, and its name for the Docker command."""

    url: str
    name: str


@contextmanager
def start_container(settings: str = "") -> Iterator[Container]:
    """Run the image of deploy/Dockerfile, with further settings; it is gone at the end of the block."""
    require_engine()
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import DockerContainer

    built = subprocess.run([ROOT / "scripts/postgres-image"], capture_output=True, text=True, check=False)
    if built.returncode != 0:
        pytest.fail(f"scripts/postgres-image could not build PostgreSQL:\n{built.stderr[-3000:]}", pytrace=False)
    testcontainers_config.ryuk_disabled = True  # its image comes from a registry, and the end is seen to here
    password = secrets.token_hex(16)
    image = built.stdout.strip()
    settings += " -c fsync=off -c synchronous_commit=off -c shared_buffers=128MB -c max_connections=200"
    with (
        DockerContainer(image)
        .with_exposed_ports(5432)
        .with_env("POSTGRES_PASSWORD", password)
        .with_command(settings) as running
    ):
        host, port = running.get_container_host_ip(), running.get_exposed_port(5432)
        url = f"postgresql://postgres:{password}@{host}:{port}/postgres"
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(url, connect_timeout=5).close()
                break
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    said = b"\n".join(running.get_logs()).decode(errors="replace")
                    pytest.fail(f"PostgreSQL in a container did not start:\n{said[-3000:]}", pytrace=False)
                time.sleep(0.2)
        yield Container(url, running.get_wrapped_container().name)


@pytest.fixture(scope="session")
def container() -> Iterator[Container]:
    """Run the image of deploy/Dockerfile for this session."""
    with start_container() as started:
        yield started


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> str:
    """Return the URL of a superuser in the server's maintenance database."""
    given = request.config.getoption("--postgres")
    if given and str(given).isdigit():
        container_url: str = request.getfixturevalue("container").url
        return container_url
    if given:
        return str(given)
    cluster: Cluster = request.getfixturevalue("cluster")
    return cluster.url("postgres")


@pytest.fixture(scope="session")
def pg_dump(request: pytest.FixtureRequest, server: str) -> Callable[..., str]:
    """Give tests the pg_dump of the server's own version; call it as `pg_dump(url, "--schema-only")`."""

    def dump(url: str, *options: str) -> str:
        given = request.config.getoption("--postgres")
        parts = {key: str(value) for key, value in conninfo.conninfo_to_dict(url).items()}
        if given and str(given).isdigit():
            name = request.getfixturevalue("container").name
            program = ["docker", "exec", name, "pg_dump", "-U", parts["user"], "-d", parts["dbname"]]
            environment = dict(os.environ)
        else:
            bindir = find_programs() if given else request.getfixturevalue("cluster").programs
            program = [str(bindir / "pg_dump"), "-d", conninfo.make_conninfo(url, password=None)]
            environment = clean_environment() | ({"PGPASSWORD": parts["password"]} if "password" in parts else {})
        done = subprocess.run([*program, *options], env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.fail(f"pg_dump: {done.stderr}", pytrace=False)
        # PostgreSQL 17.6 on writes \\restrict with a key that differs from dump to dump
        return re.sub(r"^\\(un)?restrict .*\n", "", done.stdout, flags=re.MULTILINE)

    return dump


@pytest.fixture(scope="session")
def portaldb() -> Portaldb:
    """Give tests the command; call it as `portaldb("status", "--json", database=url)`."""

    def run(
        *args: str,
        database: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str | None = None,
        cwd: Path | None = None,
        check: bool = False,
        timeout: float = 120,
    ) -> Completed:
        done = subprocess.run(
            [sys.executable, "-m", "portaldb", *args],
            env=clean_environment() | ({"DATABASE_URL": database} if database else {}) | dict(env or {}),
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=cwd or ROOT,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode != 0:
            pytest.fail(
                f"portaldb {' '.join(args)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}",
                pytrace=False,
            )
        return done

    return run


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what would point libpq or the command at another server."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DATABASE_URL"))}


@pytest.fixture(scope="session")
def templates(server: str, portaldb: Portaldb) -> Iterator[Callable[[str], str]]:
    """Make a template once a session: 'init' after the command of that name, 'migrate' after both."""
    made: dict[str, str] = {}

    def template(kind: str) -> str:
        if kind not in made:
            name = f"template_{kind}_{secrets.token_hex(4)}"
            url = conninfo.make_conninfo(server, dbname=name)
            portaldb("init", database=url, check=True)
            if kind == "migrate":
                portaldb("migrate", database=url, check=True)
            made[kind] = name
        return made[kind]

    yield template
    for name in made.values():
        drop_database(server, name)


@pytest.fixture
def make_database(server: str, portaldb: Portaldb, templates: Callable[[str], str]) -> Iterator[MakeDatabase]:
    """Make databases that are dropped after the test."""
    made: list[str] = []

    def make(name: str | None = None, *, init: bool = True, migrate: bool = False) -> str:
        name = name or f"test_{secrets.token_hex(6)}"
        made.append(name)
        url = conninfo.make_conninfo(server, dbname=name)
        if name == "mcp_portal" and (init or migrate):
            # pg_cron lives in the database of this name alone, so a copy would lack it
            portaldb("init", database=url, check=True)
            if migrate:
                portaldb("migrate", database=url, check=True)
        elif init or migrate:
            copy_database(server, templates("migrate" if migrate else "init"), name)
        else:
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return url

    yield make
    for name in made:
        drop_database(server, name)


def copy_database(server: str, template: str, name: str) -> None:
    """Copy a database with its owner and what CREATE DATABASE leaves behind: grants, limit and settings."""
    with psycopg.connect(server, autocommit=True) as connection:
        found = connection.execute(
            "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s", [template]
        ).fetchone()
        assert found is not None
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                sql.Identifier(name), sql.Identifier(template), sql.Identifier(found[0])
            )
        )
        connection.execute(
            "UPDATE pg_database AS new SET datacl = old.datacl, datconnlimit = old.datconnlimit "
            "FROM pg_database AS old WHERE new.datname = %s AND old.datname = %s",
            [name, template],
        )
        connection.execute(
            "INSERT INTO pg_db_role_setting SELECT new.oid, setrole, setconfig "
            "FROM pg_db_role_setting JOIN pg_database AS old ON old.oid = setdatabase, pg_database AS new "
            "WHERE new.datname = %s AND old.datname = %s",
            [name, template],
        )


def drop_database(server: str, name: str) -> None:
    """Drop a database, whoever is still in it."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def login(server: str, request: pytest.FixtureRequest) -> Iterator[Login]:
    """Make logins that are dropped after the test, with whatever they own."""
    with ExitStack() as at_end:

        def make(database: str, role: str | None = None, options: str = "") -> str:
            name, password = f"login_{secrets.token_hex(4)}", secrets.token_hex(16)
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} " + options).format(sql.Identifier(name), password)
                )
                at_end.callback(drop_login, server, name)
                if role:
                    connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(name)))
                # Over the network, where a password is asked for: the socket asks who the process's user is
                host = {"host": "127.0.0.1"} if str(connection.info.host).startswith("/") else {}
            return conninfo.make_conninfo(database, user=name, password=password, **host)

        yield make


def drop_login(server: str, name: str) -> None:
    """Drop a login with what it owns, in every database."""
    with psycopg.connect(server, autocommit=True) as connection:
        found = connection.execute("SELECT datname FROM pg_database WHERE datallowconn").fetchall()
        role = sql.Identifier(name)
        for (database,) in found:
            with psycopg.connect(conninfo.make_conninfo(server, dbname=database), autocommit=True) as inside:
                inside.execute(sql.SQL("DROP OWNED BY {} CASCADE").format(role))
        connection.execute(sql.SQL("DROP ROLE {}").format(role))


@pytest.fixture
def pooler() -> Iterator[Pooler]:
    """Start PgBouncer before the session's server: `pooler(database_url, "pool_mode = session")` is its URL."""
    with ExitStack() as started:

        def start(url: str, *settings: str) -> str:
            return started.enter_context(pooling(url, *settings))

        yield start


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Give the seed of whatever a test chooses at random: told with the summary, and chosen with --seed."""
    return int(request.config.getoption("--seed"))
