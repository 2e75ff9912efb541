"""`portaldb verify --live` on a server that carries traffic: it delays nobody, and touches no row that is there."""

import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from conftest import Portaldb, clean_environment
from psycopg import conninfo
from support import ask, command, finish, kill, no_session, one, paragraph, until

from portaldb.cluster import Cluster

USERS = 2_000
ENTRIES = 20_000
"""How many entries of an index all trials together may read: each finds a few synthetic rows by their ids."""
OURS = "portaldb verify"

ROWS = """
INSERT INTO public.users (id, azure_oid, email)
SELECT md5(n::text)::uuid, 'user ' || n, n || '@example.org' FROM generate_series(1, {users}) AS n;
INSERT INTO public.mcp_servers (id, name, image)
SELECT md5('server ' || n)::uuid, 'server ' || n, 'x' FROM generate_series(1, 10) AS n;
INSERT INTO public.mcp_servers (name, image, catalog_type, created_by)
SELECT 'tool of ' || azure_oid, 'x', 'custom', id FROM public.users;
INSERT INTO public.user_server_configs (user_id, server_id)
SELECT u.id, md5('server ' || n)::uuid FROM public.users AS u, generate_series(1, 10) AS n;
INSERT INTO public.user_sessions (user_id, session_token, expires_at)
SELECT id, azure_oid, 'infinity' FROM public.users;
INSERT INTO public.audit_logs (user_id, action) SELECT id, 'login' FROM public.users;
INSERT INTO public.teams (id, name) SELECT md5('team ' || n)::uuid, n FROM generate_series(1, 100) AS n;
INSERT INTO public.team_members (team_id, user_id)
SELECT md5('team ' || (1 + right(azure_oid, 2)::int % 100))::uuid, id FROM public.users;
"""


@dataclass(frozen=True)
class Busy:
    """A server of this module's own, so that its log is, and a database full of rows."""

    cluster: Cluster
    url: str
    service: str
    """The URL of a service's login."""

    def log(self) -> str:
        """Return the server's log."""
        return self.cluster.log.read_text(encoding="utf-8", errors="replace")


@pytest.fixture(scope="module", params=[USERS, pytest.param(100_000, marks=pytest.mark.soak)])
def busy(request: pytest.FixtureRequest, portaldb: Portaldb) -> Iterator[Busy]:
    """Start a server that logs every wait for a lock of 100 ms, with a database of ten configurations a user."""
    cluster = Cluster.create_throwaway()
    try:
        for setting in ("log_lock_waits = on", "deadlock_timeout = '100ms'"):
            ask(cluster.url("postgres"), f"ALTER SYSTEM SET {setting}")
        ask(cluster.url("postgres"), "SELECT pg_reload_conf()")
        url = cluster.url("busy")
        portaldb("init", database=url, check=True)
        portaldb("migrate", database=url, check=True)
        with psycopg.connect(url) as connection:
            connection.execute(ROWS.replace("{users}", str(request.param)).encode())
        ask(url, "VACUUM ANALYZE")
        ask(url, "CREATE ROLE service LOGIN PASSWORD 'service' IN ROLE portal_app")
        yield Busy(cluster, url, conninfo.make_conninfo(url, host="127.0.0.1", user="service", password="service"))
    finally:
        cluster.destroy()


# Traffic -------------------------------------------------------------------------------------------------

TRAFFIC = {
    "read.sql@6": "SELECT count(*) FROM public.user_server_configs;",
    "update.sql@3": "UPDATE public.user_server_configs SET enabled = NOT enabled "
    "WHERE server_id = md5('server ' || 1 + :n % 10)::uuid;",
    "insert.sql@1": "INSERT INTO public.user_sessions (user_id, session_token, expires_at) VALUES "
    "(public.current_app_user_id(), gen_random_uuid(), 'infinity');\n"
    "SELECT public.create_audit_log(NULL, 'login', NULL, NULL, NULL, NULL, NULL);",
}
BEGIN = """\\set n random(1, {users})
BEGIN;
SELECT set_config('app.current_user_id', md5(:n::text)::uuid::text, true);
"""


@contextmanager
def traffic(busy: Busy, folder: Path, seconds: int) -> Iterator[subprocess.Popen[str]]:
    """Start pgbench: four clients that read, update and insert, 300 times a second, each for another user."""
    users = one(busy.url, "SELECT count(*) FROM public.users")
    for script, statements in TRAFFIC.items():
        (folder / script.partition("@")[0]).write_text(BEGIN.format(users=users) + statements + "\nCOMMIT;\n")
    parts = conninfo.conninfo_to_dict(busy.service)
    scripts = [f"--file={script}" for script in TRAFFIC]
    where = ["-h", parts["host"], "-p", parts["port"], "-U", parts["user"], parts["dbname"]]
    program = [
        busy.cluster.programs / "pgbench",
        "-n",
        "-c",
        "4",
        "-j",
        "1",
        "-T",
        str(seconds),
        "-l",
        *scripts,
        *where,
    ]
    with subprocess.Popen(
        list(map(str, program)),
        env=clean_environment() | {"PGPASSWORD": str(parts["password"])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def latencies(folder: Path) -> list[tuple[float, float]]:
    """Return when each of pgbench's transactions ended, and how long it took, in seconds."""
    lines = [line.split() for path in folder.glob("pgbench_log.*") for line in path.read_text().splitlines()]
    return [(int(line[4]) + int(line[5]) / 1e6, int(line[2]) / 1e6) for line in lines]


@dataclass
class Watcher:
    """Looks again and again which locks the verifier has on tables, and whether anybody waits for it."""

    url: str
    ended: threading.Event = field(default_factory=threading.Event)
    modes: set[str] = field(default_factory=set)
    blocked: set[str] = field(default_factory=set)

    def watch(self) -> None:
        """Look until told to end."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            while not self.ended.wait(0.01):
                self.modes |= {mode for (mode,) in connection.execute(LOCKS, [OURS])}
                self.blocked |= {query for (query,) in connection.execute(BLOCKED, [OURS])}


LOCKS = """
SELECT DISTINCT l.mode
FROM pg_locks AS l
INNER JOIN pg_stat_activity AS a ON a.pid = l.pid
INNER JOIN pg_class AS c ON c.oid = l.relation AND l.database = (SELECT oid FROM pg_database WHERE datname = a.datname)
WHERE
    a.application_name = %s
    AND l.locktype = 'relation'  -- and not 'extend', held for a moment while a file grows
    AND c.relnamespace = 'public'::regnamespace
    AND c.relkind IN ('r', 'p', 'v')
"""
BLOCKED = """
SELECT waiting.query
FROM pg_stat_activity AS waiting, pg_stat_activity AS ours
WHERE ours.application_name = %s AND waiting.wait_event_type = 'Lock' AND ours.pid = ANY(pg_blocking_pids(waiting.pid))
"""


@contextmanager
def watched(url: str) -> Iterator[Watcher]:
    """Watch while the block runs."""
    watcher = Watcher(url)
    thread = threading.Thread(target=watcher.watch)
    thread.start()
    try:
        yield watcher
    finally:
        watcher.ended.set()
        thread.join()


def test_verify_live_delays_no_traffic(
    busy: Busy, portaldb: Portaldb, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Beside pgbench: no wait for a lock of 100 ms, no failed transaction, nobody behind us, no strong lock."""
    runs: list[tuple[float, float]] = []
    with watched(busy.url) as watcher, traffic(busy, tmp_path, 12) as pgbench:
        time.sleep(2)  # some traffic alone, to compare with
        while pgbench.poll() is None and len(runs) < 3:
            began = time.time()
            portaldb("verify", "--live", database=busy.url, check=True)
            runs.append((began, time.time()))
        out, err = pgbench.communicate()
    assert pgbench.returncode == 0, err
    assert "number of failed transactions: 0 (0.000%)" in out
    beside, alone = (
        [took for ended, took in latencies(tmp_path) if any(a <= ended <= b for a, b in runs) == during]
        for during in (True, False)
    )
    assert len(beside) > 200 and len(alone) > 200, "there was no traffic to speak of"
    record_property("slowest transaction beside verify, alone (s)", (max(beside), max(alone)))
    record_property("verify --live (s)", [ended - began for began, ended in runs])
    assert not re.findall(r"still waiting for .*|acquired .* after .*", busy.log())
    assert not watcher.blocked
    assert "RowExclusiveLock" in watcher.modes
    assert watcher.modes <= {"AccessShareLock", "RowShareLock", "RowExclusiveLock"}


def test_verify_live_log_would_show_a_wait(busy: Busy) -> None:
    """The test above can fail: a wait of 100 ms for a lock is in this server's log."""
    with psycopg.connect(busy.url) as holder, psycopg.connect(busy.url) as waiter:
        holder.execute("LOCK TABLE public.jobs")
        waiter.execute("SET statement_timeout = '300ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            waiter.execute("SELECT FROM public.jobs")
    until(lambda: re.search(r"still waiting for AccessShareLock on relation", busy.log()), "the wait in the log")


# Rows that are there -------------------------------------------------------------------------------------

LARGE = ("users", "mcp_servers", "user_server_configs", "user_sessions", "teams", "team_members", "audit_logs")

VERSIONS = " UNION ALL ".join(
    f"SELECT '{table}', md5(string_agg(t.tableoid || t.ctid::text || t.xmin || t.xmax, '' "
    f"ORDER BY t.tableoid, t.ctid)) FROM public.{table} AS t"
    for table in (*LARGE, "settings", "jobs")
)
"""Where each row lies, who made it and who last locked it."""

READ = """
SELECT relname::text, seq_scan, seq_tup_read FROM pg_stat_user_tables WHERE schemaname = 'public'
UNION ALL
SELECT indexrelname::text, 0, idx_tup_read FROM pg_stat_user_indexes WHERE schemaname = 'public'
"""


def counted(url: str) -> dict[str, tuple[int, int]]:
    """Return how often each table was read from end to end, and how many entries of it or an index were read."""
    return {name: (scans, rows) for name, scans, rows in ask(url, READ)}


def test_verify_live_reads_and_locks_no_row_that_is_there(busy: Busy, portaldb: Portaldb) -> None:
    """No row is written or locked, no table read from end to end, no index beyond the synthetic rows."""
    versions = sorted(ask(busy.url, VERSIONS))
    before = counted(busy.url)
    began = time.monotonic()
    portaldb("verify", "--live", database=busy.url, check=True)
    assert time.monotonic() - began < 30, "on a machine with nothing else to do it takes under ten"
    after = counted(busy.url)
    assert sorted(ask(busy.url, VERSIONS)) == versions
    filled = {name for name, in_it in ask(busy.url, "SELECT relname::text, reltuples > 0 FROM pg_class") if in_it}
    read = {name: (after[name][0] - before[name][0], after[name][1] - before[name][1]) for name in after}
    scanned = {name: scans for name, (scans, _) in read.items() if scans and name in filled & set(LARGE)}
    assert not scanned, f"read from end to end: {scanned}"
    many = {name: rows for name, (_, rows) in read.items() if rows > ENTRIES}
    assert not many, f"read beyond the synthetic rows: {many}"


def test_verify_live_gives_way_to_a_lock(busy: Busy, portaldb: Portaldb) -> None:
    """Where somebody holds a table, it gives up in a moment and says so, and traffic did not queue behind it."""
    with psycopg.connect(busy.url) as holder:
        holder.execute("LOCK TABLE public.user_sessions IN SHARE MODE")  # as CREATE INDEX takes
        with command("verify", "--live", database=busy.url) as process:
            said = finish(process)
        assert ask(busy.service, "SELECT count(*) FROM public.user_sessions") == [0]
    assert "somebody holds a lock" in paragraph(said, said.returncode)
    assert said.returncode not in (0, 1)


# Ended midway --------------------------------------------------------------------------------------------

UNDER_WAY = f"""
SELECT count(*)
FROM pg_locks
WHERE
    locktype = 'relation'
    AND mode = 'RowExclusiveLock'
    AND relation = 'public.users'::regclass
    AND pid IN (SELECT pid FROM pg_stat_activity WHERE application_name = '{OURS}')
"""
LEFT = "SELECT (SELECT count(*) FROM public.users), (SELECT count(*) FROM pg_proc WHERE proname = 'portaldb_try')"


def test_verify_live_killed_leaves_nothing(busy: Busy) -> None:
    """After kill -9 the server rolls back by itself."""
    before = ask(busy.url, LEFT)
    for pause in (0.1, 1):
        with command("verify", "--live", database=busy.url) as process:
            until(lambda: one(busy.url, UNDER_WAY), "the transaction to be under way")
            time.sleep(pause)
            assert process.poll() is None
            kill(process)
        until(no_session(busy.url, OURS), "the server to end the session")
    assert ask(busy.url, LEFT) == before


def test_verify_live_stopped_is_ended_by_the_server(busy: Busy) -> None:
    """A client that hangs keeps its transaction open for ten seconds, no longer."""
    with command("verify", "--live", database=busy.url) as process:
        until(lambda: one(busy.url, UNDER_WAY), "the transaction to be under way")
        process.send_signal(signal.SIGSTOP)
        until(no_session(busy.url, OURS), "the server to end the session")
        process.send_signal(signal.SIGCONT)
        assert "connection was lost" in paragraph(finish(process), 3)
