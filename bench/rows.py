"""What is measured: each row is portaldb beside another tool that is given the same work."""

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from bench.measure import Side
from portaldb.bootstrap import init
from portaldb.cluster import Cluster
from portaldb.database import OWNER
from portaldb.errors import EnvironmentMissingError
from portaldb.layout import FOLDERS, sql_root
from portaldb.source import Migration, read

INSTALL = {
    "psql": "apt-get install postgresql-client",
    "yoyo": "pip install -e .",
    "alembic": "pip install -e '.[bench]'",
    "sqitch": "apt-get install sqitch libdbd-pg-perl",
}
"""The tools that portaldb is measured beside, and how to get each."""


@dataclass(frozen=True)
class Row:
    """One line of the table: who runs, how often, and what the aim is."""

    what: str
    ours: Side
    theirs: Side
    runs: int
    aim: str
    met: Callable[[float, float], bool]
    """Takes our median in seconds and the ratio of the medians."""


def program(name: str) -> str | None:
    """Find a program: beside this Python first, so that all of an environment are measured in it."""
    return shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))


def missing() -> list[str]:
    """Name the tools that are not installed."""
    return [name for name in INSTALL if program(name) is None]


def environment() -> dict[str, str]:
    """Return this process's environment without what would lead libpq or Python another way."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PYTHON", "DATABASE_URL"))}


class Bench:
    """The databases and folders that the rows need, in a cluster that keeps what it commits."""

    def __init__(self, cluster: Cluster, folder: Path, without: frozenset[str]) -> None:
        self.cluster = cluster
        self.folder = folder
        self.without = without
        # A copy, so that editing a migration meanwhile cannot change what is measured.
        self.source = folder / "series"
        for name in FOLDERS:
            shutil.copytree(sql_root() / name, self.source / name)
        self.migrations = read(self.source)

    def rows(self) -> Iterator[Row]:
        """Make what each row needs, and hand the rows over one by one."""
        init(self.cluster.url("bench_init"), locale="C.UTF-8", dry_run=False, wait=0, say=_silent)
        if "psql" not in self.without:
            yield from self.from_zero()
        self.copy("bench_applied")
        self.portaldb("bench_applied").run()
        for peer in (self.yoyo, self.alembic, self.sqitch):
            if peer.__name__ not in self.without:
                yield self.nothing_to_do(peer())
        yield self.help()

    def from_zero(self) -> Iterator[Row]:
        """Apply the whole series to a database as `init` leaves it; psql is given the same SQL in one file.

        Debian's psql is a wrapper, which looks for the right version and starts it: what people type, and not the
        whole truth, so the server's own psql has a row as well.
        """
        text = self.folder / "psql.sql"
        text.write_text("\n".join(_for_one_transaction(migration) for migration in self.migrations))
        ours = self.portaldb("bench_zero", prepare=lambda: self.copy("bench_zero"))
        psqls = {"psql -1 -f": "psql"}
        if Path(program("psql") or "").read_bytes()[:2] == b"#!":
            psqls["psql -1 -f, past its wrapper"] = str(self.cluster.programs / "psql")
        for name, psql in psqls.items():
            argv = (psql, "-X", "-q", "-1", "-v", "ON_ERROR_STOP=1", "-f", str(text), self.url("bench_psql"))
            theirs = self.side(name, *argv, prepare=lambda: self.copy("bench_psql"))
            what = f"`migrate`, all {len(self.migrations)} migrations from zero"
            yield Row(what, ours, theirs, 15, "under 2.0 times", lambda _seconds, ratio: ratio < 2)  # noqa: PLR2004 - the aim

    def nothing_to_do(self, peer: Side) -> Row:
        """Find that everything is applied; the peer has as many changes, none of which does anything."""
        peer.run()  # the one that applies them
        ours = self.portaldb("bench_applied")
        return Row("`migrate`, nothing to do", ours, peer, 21, "faster", lambda _seconds, ratio: ratio < 1)

    def help(self) -> Row:
        """Show the help; Python's own start is there for scale."""
        ours = self.side("portaldb --help", "portaldb", "--help")
        start = self.side("python -c pass", sys.executable, "-c", "pass")
        return Row("`--help`", ours, start, 31, "under 150 ms", lambda seconds, _ratio: seconds < 0.15)  # noqa: PLR2004 - the aim

    def portaldb(self, database: str, prepare: Callable[[], None] | None = None) -> Side:
        """Return `portaldb migrate` on a database."""
        argv = ("portaldb", "migrate", "--source", str(self.source))
        return self.side("portaldb migrate", *argv, prepare=prepare, DATABASE_URL=self.url(database))

    def yoyo(self) -> Side:
        """Return plain yoyo with a folder of no-op migrations."""
        folder = self.folder / "yoyo"
        folder.mkdir()
        for name in self.names():
            (folder / f"{name}.sql").write_text("SELECT 1;\n")
        self.copy("bench_yoyo")
        url = self.url("bench_yoyo").replace("postgresql:", "postgresql+psycopg:")
        return self.side("yoyo apply", "yoyo", "apply", "--batch", "--no-config-file", "--database", url, str(folder))

    def alembic(self) -> Side:
        """Return alembic with a chain of no-op revisions and the plainest env.py, on the same driver."""
        folder = self.folder / "alembic"
        (folder / "versions").mkdir(parents=True)
        (folder / "env.py").write_text(_ALEMBIC_ENVIRONMENT)
        before = None
        for name in self.names():
            text = f"revision = {name!r}\ndown_revision = {before!r}\n\n\ndef upgrade():\n    pass\n"
            (folder / f"versions/{name}.py").write_text(text)
            before = name
        self.copy("bench_alembic")
        url = self.url("bench_alembic").replace("postgresql:", "postgresql+psycopg:").replace("%", "%%")
        configuration = self.folder / "alembic.ini"
        configuration.write_text(f"[alembic]\nscript_location = {folder}\nsqlalchemy.url = {url}\n")
        return self.side("alembic upgrade head", "alembic", "-c", str(configuration), "upgrade", "head")

    def sqitch(self) -> Side:
        """Return sqitch with a plan of no-op changes."""
        folder = self.folder / "sqitch"
        (folder / "deploy").mkdir(parents=True)
        (folder / "sqitch.conf").write_text("[core]\n\tengine = pg\n[user]\n\tname = Bench\n\temail = b@example.org\n")
        lines = [f"{name} 2026-01-01T00:00:00Z Bench <b@example.org> # nothing" for name in self.names()]
        (folder / "sqitch.plan").write_text("\n".join(["%syntax-version=1.0.0", "%project=bench", "", *lines, ""]))
        for name in self.names():
            # sqitch refuses two scripts of the same text.
            (folder / f"deploy/{name}.sql").write_text(f"SELECT 1;  -- {name}\n")
        self.copy("bench_sqitch")
        url = f"db:pg:{self.url('bench_sqitch').removeprefix('postgresql:')}"
        return self.side("sqitch deploy", "sqitch", "deploy", url, folder=folder)

    def names(self) -> list[str]:
        """Return as many names as our series has migrations."""
        return [f"{number:04}_nothing" for number in range(1, len(self.migrations) + 1)]

    def url(self, database: str) -> str:
        """Return a database's URL, as the role that owns it."""
        return self.cluster.url(database, OWNER)

    def copy(self, database: str) -> None:
        """Make a database anew from what `init` made, all of it on disk before the clock starts."""
        with psycopg.connect(self.cluster.url("postgres"), autocommit=True) as connection:
            name = sql.Identifier(database)
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(name))
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE bench_init OWNER mcp_admin").format(name))
            connection.execute("CHECKPOINT")

    def side(
        self,
        name: str,
        *argv: str,
        folder: Path | None = None,
        prepare: Callable[[], None] | None = None,
        **variables: str,
    ) -> Side:
        """Describe one command; raise EnvironmentMissingError where its program is not installed."""
        found = program(argv[0])
        if found is None:
            raise EnvironmentMissingError(f"{argv[0]} is not installed.")
        more = {"prepare": prepare} if prepare else {}
        return Side(name, [found, *argv[1:]], environment() | variables, folder or self.folder, **more)


_ALEMBIC_ENVIRONMENT = textwrap.dedent(
    """\
    from alembic import context
    from sqlalchemy import create_engine, pool

    engine = create_engine(context.config.get_main_option("sqlalchemy.url"), poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()
    """
)


def _for_one_transaction(migration: Migration) -> str:
    """Return a migration's SQL; psql -1 cannot build an index CONCURRENTLY, and the plain way is the quicker one."""
    text = migration.script.text
    return text if migration.script.transactional else re.sub(r"\bCONCURRENTLY\b", "", text)


def _silent(_line: str) -> None:
    """Say nothing."""
