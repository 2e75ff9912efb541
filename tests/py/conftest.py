"""What the tests share: a server, fresh databases on it, logins, and the command as a subprocess.

The server is a throwaway cluster by default. `pytest --postgres URL` (or PORTALDB_TEST_SERVER) runs the tests
that need a server against another one, as its superuser; tests that need none are left out then.
"""

import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import psycopg
import pytest
from psycopg import conninfo, sql

from portaldb.cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
Completed = subprocess.CompletedProcess[str]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --postgres."""
    parser.addoption(
        "--postgres",
        metavar="URL",
        default=os.environ.get("PORTALDB_TEST_SERVER"),
        help="run the tests that need a server against this one, as its superuser; default: a throwaway cluster",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --postgres, leave out what does not ask the server: it has run without."""
    if config.getoption("--postgres"):
        left_out = [item for item in items if "server" not in getattr(item, "fixturenames", ())]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


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


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Make a cluster for this session: gone at its end, and quick because it survives no crash."""
    cluster = Cluster.create_throwaway()
    yield cluster
    cluster.destroy()


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> str:
    """Return the URL of a superuser in the server's maintenance database."""
    given = request.config.getoption("--postgres")
    if given:
        return str(given)
    cluster: Cluster = request.getfixturevalue("cluster")
    return cluster.url("postgres")


@pytest.fixture(scope="session")
def portaldb() -> Portaldb:
    """Give tests the command: `portaldb("status", "--json", database=url)` runs it."""

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
def make_database(server: str, templates: Callable[[str], str]) -> Iterator[MakeDatabase]:
    """Make databases that are dropped after the test."""
    made: list[str] = []

    def make(name: str | None = None, *, init: bool = True, migrate: bool = False) -> str:
        name = name or f"test_{secrets.token_hex(6)}"
        made.append(name)
        if init or migrate:
            copy_database(server, templates("migrate" if migrate else "init"), name)
        else:
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return conninfo.make_conninfo(server, dbname=name)

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
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} " + options).format(
                        sql.Identifier(name), password
                    )
                )
                at_end.callback(drop_login, server, name)
                if role:
                    connection.execute(
                        sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(name))
                    )
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
