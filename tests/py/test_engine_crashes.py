"""Killed at any moment, the next migrate finishes the work: each migration once, no INVALID index, one record.

Three ways to choose the moment. At every message that the client sends, in turn, the network is cut before or behind
it: what the server sees then is what it sees of a client that is killed there. At random moments processes are
killed: the client, its backend, the whole server. And at the worst of all, while an index is half built.
"""

import os
import random
import re
import secrets
import select
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from conftest import Portaldb, copy_database
from psycopg import conninfo
from support import Text, ask, command, finish, no_session, one, paragraph, series, until

from portaldb import database, engine
from portaldb.cluster import Cluster
from portaldb.errors import ConnectError
from portaldb.source import Migration, read

COUNT = "INSERT INTO public.counter VALUES ('{0}');"
FORGET = "DELETE FROM public.counter WHERE id = '{0}';"
OUTSIDE = "-- transactional: false\n{0};\n"

UP = {
    "0001_counter": f"CREATE TABLE public.counter (id text NOT NULL); {COUNT}",
    "0002_people": "CREATE TABLE public.people AS "
    f"SELECT id, md5(id::text) AS name FROM generate_series(1, 2000) AS id; {COUNT}",
    "0003_people_name": OUTSIDE.format("CREATE INDEX CONCURRENTLY idx_people_name ON public.people (name)"),
    "0004_slow": f"{COUNT} SELECT pg_sleep(0.03); ALTER TABLE public.people ADD COLUMN born date;",
    "0005_people_id": OUTSIDE.format("CREATE UNIQUE INDEX CONCURRENTLY idx_people_id ON public.people (id)"),
    "0006_function": f"CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1'; {COUNT}",
    "0007_no_people_name": OUTSIDE.format("DROP INDEX CONCURRENTLY public.idx_people_name"),
    "0008_view": f"CREATE VIEW public.names AS SELECT name FROM public.people; {COUNT} SELECT pg_sleep(0.02);",
}
DOWN = {
    "0001_counter": "DROP TABLE public.counter;",
    "0002_people": f"DROP TABLE public.people; {FORGET}",
    "0003_people_name": OUTSIDE.format("DROP INDEX CONCURRENTLY public.idx_people_name"),
    "0004_slow": f"ALTER TABLE public.people DROP COLUMN born; SELECT pg_sleep(0.03); {FORGET}",
    "0005_people_id": OUTSIDE.format("DROP INDEX CONCURRENTLY public.idx_people_id"),
    "0006_function": f"DROP FUNCTION public.f(); {FORGET}",
    "0007_no_people_name": OUTSIDE.format("CREATE INDEX CONCURRENTLY idx_people_name ON public.people (name)"),
    "0008_view": f"DROP VIEW public.names; {FORGET}",
}
TRANSACTIONAL = [name for name, text in UP.items() if "transactional: false" not in text]

SHAPE = """
    SELECT c.relkind::text, c.relname, a.attname, i.indisvalid, pg_get_indexdef(i.indexrelid)
    FROM pg_class AS c
    LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_index AS i ON i.indexrelid = c.oid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relname !~ 'yoyo|portaldb|pg_stat'
    UNION ALL
    SELECT 'f', p.proname, NULL, NULL, NULL FROM pg_proc AS p WHERE p.proname = 'f'
    ORDER BY 1, 2, 3
"""
RECORD = """
    SELECT coalesce(p.migration_id, y.migration_id), p.state, y.migration_id IS NOT NULL
    FROM public._portaldb_migration AS p FULL JOIN public._yoyo_migration AS y ON y.migration_id = p.migration_id
    ORDER BY 1
"""


EMPTY = """
    DROP TABLE IF EXISTS public.counter, public.people, public._portaldb_migration, public._yoyo_migration,
        public._yoyo_log, public._yoyo_version, public.yoyo_lock CASCADE;
    DROP FUNCTION IF EXISTS public.f();
"""


@dataclass(frozen=True)
class Bench:
    """A server that may be killed, the series on disk, and databases on it to copy."""

    cluster: Cluster
    root: Path
    migrations: list[Migration]
    zero: str
    full: str
    shape: list[object]

    def database(self, template: str) -> str:
        """Return the URL of a fresh copy of a template."""
        name = f"crash_{secrets.token_hex(6)}"
        copy_database(self.server, template, name)
        return conninfo.make_conninfo(self.server, dbname=name)

    @property
    def server(self) -> str:
        """The superuser's URL."""
        return self.cluster.url("postgres")


@pytest.fixture(scope="module")
def bench(portaldb: Portaldb, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Make a server of its own: the session's must not be killed under other tests."""
    cluster = Cluster.create_throwaway()
    try:
        root = series(
            tmp_path_factory.mktemp("crash"),
            {name: text.format(name) for name, text in UP.items()},
            {name: text.format(name) for name, text in DOWN.items()},
        )
        zero, full = (conninfo.make_conninfo(cluster.url("postgres"), dbname=name) for name in ("zero", "full"))
        portaldb("init", database=zero, check=True)
        portaldb("init", database=full, check=True)
        portaldb("migrate", "--source", str(root), database=full, check=True)
        yield Bench(cluster, root, read(root), "zero", "full", ask(full, SHAPE))
    finally:
        cluster.destroy()


def quiet(line: str, *, passing: bool = False) -> None:
    """Say nothing."""


def migrate(bench: Bench, url: str) -> None:
    """Run migrate in this process."""
    engine.migrate(
        url, bench.migrations, to=None, options=engine.Options(), wait=0, dry_run=False, say=quiet
    )  # fmt: skip


def rollback(bench: Bench, url: str) -> None:
    """Run rollback to zero in this process, as the command does."""
    with database.connect(url) as connection:
        entries = engine.look(connection, bench.migrations, engine.ROLLBACK_REFUSED)
    chosen = engine.chosen_for_rollback(entries, to="0", steps=None)
    engine.rollback(url, bench.migrations, chosen, options=engine.Options(), say=quiet)


def check_consistent(url: str) -> None:
    """Hold a database, just after a crash, to what must be true of it before anything is mended."""
    if not one(url, "SELECT to_regclass('public._portaldb_migration') IS NOT NULL"):
        assert not one(url, "SELECT to_regclass('public.counter') IS NOT NULL")
        return
    record = {name: (state, marked) for name, state, marked in ask(url, RECORD)}
    for name, (state, marked) in record.items():
        assert (state, marked) in {("applied", True), ("undoing", True), ("started", False)}, (name, state, marked)
    counted = ask(url, "SELECT id FROM public.counter ORDER BY id") if "0001_counter" in record else []
    assert counted == [name for name in TRANSACTIONAL if name in record], "SQL and record disagree"


def check_told(url: str, said: str) -> None:
    """Hold a crashed server to what the command had told: what was reported as done is done, for good."""
    record = [name for name, _state, _marked in ask(url, RECORD)] if "] " in said else []
    told = re.findall(r"^\[\d+/\d+\] (applied|undone) +migrations/(\w+)\.sql", said, re.MULTILINE)
    assert [name for verb, name in told if (verb == "applied") != (name in record)] == []


def check_finished(bench: Bench, url: str) -> None:
    """Hold a database to everything that an undisturbed migrate makes, each once."""
    assert ask(url, "SELECT id FROM public.counter ORDER BY id") == TRANSACTIONAL
    assert ask(url, RECORD) == [(name, "applied", True) for name in UP]
    assert ask(url, SHAPE) == bench.shape


# Cut at every message --------------------------------------------------------------------------------------------


_RUNS = (b"Q", b"S")
"""Query and Sync: the messages upon which the server acts."""


class Cut:
    """A wire between client and server that is cut behind one message of the client's.

    The server has that message, and the client will have no answer. Message -1 never comes.
    """

    def __init__(self, cluster: Cluster, at: int = -1) -> None:
        self.cluster, self.at = cluster, at
        self.passed = 0
        self.folder = tempfile.TemporaryDirectory(prefix="cut-")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{self.folder.name}/.s.PGSQL.5432")
        self._listener.listen()
        self._threads: list[threading.Thread] = []
        self._cut = threading.Event()

    def __enter__(self) -> "Cut":
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._cut.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for thread in self._threads:
            thread.join()
        self.folder.cleanup()

    def url(self, url: str) -> str:
        """Return the same URL through the wire."""
        return conninfo.make_conninfo(url, host=self.folder.name, port=5432)

    def _accept(self) -> None:
        while not self._cut.is_set():
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self.cluster.socket / f".s.PGSQL.{self.cluster.port}"))
            self._threads.append(threading.Thread(target=self._pump, args=(client, server)))
            self._threads[-1].start()

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        """Carry bytes both ways, the client's message by message."""
        held, header = b"", 0  # the first message has no type byte
        with client, server:
            while not self._cut.is_set():
                ready, _, _ = select.select([client, server], [], [], 0.5)
                if server in ready:
                    data = server.recv(65536)
                    if not data:
                        return
                    client.sendall(data)
                if client in ready:
                    data = client.recv(65536)
                    if not data:
                        return
                    held += data
                    while len(held) >= header + 4:
                        length = header + struct.unpack("!i", held[header : header + 4])[0]
                        if len(held) < length:
                            break
                        message, held, header = held[:length], held[length:], 1
                        self.passed += message[:1] in _RUNS
                        server.sendall(message)
                        if self.passed == self.at:
                            self._cut.set()
                            return


def gone(url: str) -> bool:
    """Say whether no session but the asking one is left in a database."""
    return bool(one(url, "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database()"))


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.soak)])
@pytest.mark.parametrize("work", [migrate, rollback])
def test_cut_at_every_message_the_next_migrate_finishes(
    work: Callable[[Bench, str], None], step: int, bench: Bench
) -> None:
    """Wherever the client dies, nothing is half done that the next migrate does not finish."""
    url = bench.database(bench.full)

    def ready() -> None:
        if work is migrate:
            ask(url, EMPTY)

    ready()
    with Cut(bench.cluster) as wire:
        work(bench, wire.url(url))
    total = wire.passed
    migrate(bench, url)
    first = random.randint(1, step)  # noqa: S311 - the day's choice, printed
    print(f"{total} messages, every {step}th from {first}")  # noqa: T201 - pytest shows it with a failure
    for at in range(first, total + 1, step):
        ready()
        with Cut(bench.cluster, at) as wire, suppress(ConnectError):
            work(bench, wire.url(url))
        until(lambda: gone(url), "the server to notice")
        try:
            check_consistent(url)
            migrate(bench, url)
            check_finished(bench, url)
        except BaseException:
            print(f"cut behind message {at}")  # noqa: T201
            raise


# Killed at random moments ----------------------------------------------------------------------------------------


class Watch:
    """One connection that looks at the server while others crash, made again where it was lost itself."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.connection = self._connect()

    def _connect(self) -> psycopg.Connection[tuple[int]]:
        deadline = time.monotonic() + 30
        while True:
            try:
                return psycopg.connect(self.url, autocommit=True)
            except psycopg.OperationalError:  # it recovers from the crash
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def sessions(self) -> list[int]:
        """Return the backends of portaldb in this database."""
        query = (
            "SELECT pid FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'portaldb%'"
        )
        try:
            rows = self.connection.execute(query).fetchall()
        except psycopg.OperationalError:
            self.connection = self._connect()
            rows = self.connection.execute(query).fetchall()
        return [row[0] for row in rows]


def kill_client(process: Text, _watch: Watch, _bench: Bench) -> None:
    """End the command as a crash of its machine does."""
    process.send_signal(signal.SIGKILL)


def interrupt_client(process: Text, _watch: Watch, _bench: Bench) -> None:
    """Press Ctrl-C."""
    process.send_signal(signal.SIGINT)


def kill_backend(_process: Text, watch: Watch, _bench: Bench) -> None:
    """Kill the server's process that works for the command; the server then ends every session, and recovers."""
    for pid in watch.sessions():
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def stop_server(_process: Text, _watch: Watch, bench: Bench) -> None:
    """Stop the server as a loss of power does, and start it again."""
    bench.cluster.stop(fast=False)
    bench.cluster.start()


Killer = Callable[[Text, Watch, Bench], None]
ENDINGS = {kill_client: {-9, 0}, interrupt_client: {130, 0, -2}, kill_backend: {3, 0}, stop_server: {3, 0}}
"""How the command may end: by the signal, or with a documented code; 0 where it was quicker.

Interrupted while Python shuts down, after the work, it dies of the signal itself: -2 here, 130 in a shell.
"""


@pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.soak)])
@pytest.mark.parametrize(
    ("killer", "rounds"), [(kill_client, 20), (interrupt_client, 8), (kill_backend, 8), (stop_server, 8)]
)
def test_killed_at_random_moments_the_next_migrate_finishes(
    killer: Killer, rounds: int, times: int, bench: Bench
) -> None:
    """Client, backend or server, killed at a moment that nobody chose: nothing half done stays."""
    seed = int(os.environ.get("PORTALDB_TEST_SEED") or secrets.randbits(32))
    print(f"PORTALDB_TEST_SEED={seed}")  # noqa: T201 - pytest shows it with a failure
    dice = random.Random(seed)  # noqa: S311 - moments, not secrets
    url = bench.database("full")
    watch = Watch(url)
    took: dict[str, float] = {}
    unfinished = 0
    for number in range(rounds * times):
        verb = ("rollback", "migrate")[number % 2]
        target = ["--to", "0", "--yes"] if verb == "rollback" else []
        if verb == "migrate":
            ask(url, EMPTY)
        # An old snapshot keeps an index waiting half built, so that more of the moments fall there.
        old = psycopg.connect(url) if dice.random() < 0.3 else None
        if old:
            old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            old.execute("SELECT 1")
        with command(verb, *target, "--source", str(bench.root), database=url) as process:
            until(lambda: process.poll() is not None or watch.sessions(), "the command to connect")
            started = time.monotonic()
            with suppress(subprocess.TimeoutExpired):
                process.wait(dice.uniform(0, took.get(verb, 0.3) * 0.8))
            killer(process, watch, bench)
            if old:
                with suppress(psycopg.OperationalError):
                    old.close()
            done = finish(process)
        if done.returncode == 0 and not old:
            took[verb] = time.monotonic() - started
        unfinished += done.returncode != 0
        until(lambda: not watch.sessions(), "the server to notice")
        try:
            assert done.returncode in ENDINGS[killer], (done.returncode, done.stderr)
            if done.returncode > 0:
                paragraph(done, done.returncode)
            check_consistent(url)
            check_told(url, done.stderr)
            migrate(bench, url)
            check_finished(bench, url)
        except BaseException:
            print(f"round {number}, {verb}:\n{done.stderr}")  # noqa: T201
            raise
    watch.connection.close()
    assert unfinished, "not one moment fell into the work"


# Down, and up again ----------------------------------------------------------------------------------------------


def test_wait_outlasts_a_server_that_is_starting(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, portaldb: Portaldb
) -> None:
    """Without --wait a server that is down is an error; with it, the first attempt fails and a later one gets in."""
    url = bench.cluster.url("full")
    pauses, pause = [], time.sleep

    def start_meanwhile(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            bench.cluster.start()
        else:
            pause(seconds)

    bench.cluster.stop()
    try:
        assert "--wait 60" in paragraph(portaldb("migrate", "--source", str(bench.root), database=url), 3)
        with monkeypatch.context() as patched:
            patched.setattr(time, "sleep", start_meanwhile)
            database.connect(url, wait=30).close()
        assert pauses
    finally:
        bench.cluster.start()
    portaldb("migrate", "--wait", "30", "--source", str(bench.root), database=url, check=True)


# Half built ------------------------------------------------------------------------------------------------------


def invalid(url: str) -> list[str]:
    """Return the names of the INVALID indexes."""
    return ask(url, "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid")


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_index_half_built_is_built_anew(sign: signal.Signals, bench: Bench) -> None:
    """Killed while it builds, CREATE INDEX CONCURRENTLY leaves an INVALID index; the next migrate does not."""
    url = bench.database("zero")
    with (
        psycopg.connect(url) as old,
        command("migrate", "--source", str(bench.root), database=url) as process,
    ):
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        old.execute("SELECT 1")
        until(lambda: invalid(url) == ["idx_people_name"], "an index half built")
        process.send_signal(sign)
        finish(process)
        until(no_session(url, "portaldb migrate"), "the server to notice")
    assert invalid(url) == ["idx_people_name"]
    assert ask(url, RECORD)[-1] == ("0003_people_name", "started", False)
    check_consistent(url)
    migrate(bench, url)
    check_finished(bench, url)


@pytest.mark.parametrize("onward", [migrate, rollback])
def test_index_half_dropped_is_dropped(onward: Callable[[Bench, str], None], bench: Bench) -> None:
    """A rollback killed while it drops an index is finished by the next, or by migrate, which goes up again."""
    url = bench.database("full")
    with psycopg.connect(url) as old:
        with command("rollback", "--to", "4", "--yes", "--source", str(bench.root), database=url) as process:
            # A reader holds up nothing but the dropping of an index.
            old.execute("SELECT count(*) FROM public.people")
            until(lambda: invalid(url) == ["idx_people_id"], "an index half dropped")
            process.send_signal(signal.SIGKILL)
        until(no_session(url, "portaldb rollback"), "the server to notice")
    assert invalid(url) == ["idx_people_id"]
    assert ask(url, RECORD)[-1] == ("0005_people_id", "undoing", True)
    check_consistent(url)
    onward(bench, url)
    if onward is rollback:
        assert ask(url, RECORD) == []
        migrate(bench, url)
    check_finished(bench, url)
