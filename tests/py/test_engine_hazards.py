"""Each habit of plain yoyo that must not reach our users: seen in the wild first, then not seen in portaldb.

The rows are those of the design's table of hazards. The row about transactions, a crash at any moment, has more
tests of its own in test_engine_crashes.py.
"""

import threading
import time
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
import yoyo as plain
from conftest import Login, MakeDatabase, Pooler, Portaldb
from support import (
    ask,
    command,
    finish,
    kill,
    no_session,
    one,
    paragraph,
    running,
    series,
    until,
    waits_for_lock,
    yoyo,
    yoyo_argv,
    yoyo_list,
    yoyo_url,
)

from portaldb import database
from portaldb.errors import RefusedError

COUNTER = "CREATE TABLE public.counter (id text NOT NULL);"
COUNT = "INSERT INTO public.counter VALUES ('%s');"


@pytest.fixture
def two(make_database: MakeDatabase) -> tuple[str, str]:
    """Make two databases: one for plain yoyo, one for portaldb."""
    return make_database(), make_database()


def counted(url: str) -> dict[str, int]:
    """Return how often each migration counted itself."""
    return dict(ask(url, "SELECT id, count(*) FROM public.counter GROUP BY id ORDER BY id"))


# SQL and mark are committed apart --------------------------------------------------------------------------------


def test_crash_between_sql_and_mark_applies_nothing_twice(
    two: tuple[str, str], tmp_path: Path, portaldb: Portaldb
) -> None:
    """The SQL and its mark are one transaction: killed between them, it is as if neither had been."""
    wild, ours = two
    series(tmp_path, {"0001_counter": COUNTER})
    yoyo("apply", wild, tmp_path / "migrations")
    portaldb("migrate", "--source", str(tmp_path), database=ours, check=True)
    series(tmp_path, {"0002_count": COUNT % "0002"})

    with psycopg.connect(wild) as holder:
        holder.execute("LOCK TABLE public._yoyo_migration IN EXCLUSIVE MODE")  # the mark has to wait
        with running(yoyo_argv("apply", wild, tmp_path / "migrations"), {}) as process:
            until(lambda: counted(wild) == {"0002": 1}, "the SQL to be committed, and no mark")
            kill(process)
    yoyo("break-lock", wild)
    yoyo("apply", wild, tmp_path / "migrations")
    assert counted(wild) == {"0002": 2}, "plain yoyo does not apply it twice any more"

    with psycopg.connect(ours) as holder:
        holder.execute("LOCK TABLE public._portaldb_migration IN EXCLUSIVE MODE")
        with command("migrate", "--source", str(tmp_path), "--lock-timeout", "60", database=ours) as process:
            until(waits_for_lock(ours, "portaldb migrate"), "the record to wait")
            kill(process)
        assert counted(ours) == {}
    portaldb("migrate", "--source", str(tmp_path), database=ours, check=True)
    assert counted(ours) == {"0002": 1}


# A lock that outlives its holder ---------------------------------------------------------------------------------


def test_crash_leaves_no_lock_behind(two: tuple[str, str], tmp_path: Path, portaldb: Portaldb) -> None:
    """The server releases our lock when the client dies; yoyo's is a row that stays."""
    wild, ours = two
    # It waits for a lock that the test holds.
    series(tmp_path, {"0001_wait": f"{COUNTER} SELECT pg_advisory_xact_lock(42); {COUNT % '0001'}"})

    with psycopg.connect(wild) as holder:
        holder.execute("SELECT pg_advisory_lock(42)")
        with running(yoyo_argv("apply", wild, tmp_path / "migrations"), {}) as process:
            until(lambda: one(wild, "SELECT count(*) FROM pg_locks WHERE objid = 42 AND NOT granted"), "yoyo to wait")
            kill(process)
    backend = plain.get_backend(yoyo_url(wild))
    with (
        backend,
        pytest.raises(plain.exceptions.LockTimeout, match=r"Process \d+ has locked this database"),
        backend.lock(timeout=0.2),  # `yoyo apply` waits 10 s, and ends the same way
    ):
        pass

    with psycopg.connect(ours) as holder:
        holder.execute("SELECT pg_advisory_lock(42)")
        with command("migrate", "--source", str(tmp_path), "--lock-timeout", "60", database=ours) as process:
            until(waits_for_lock(ours, "portaldb migrate"), "portaldb to wait")
            kill(process)
        # The server looks every second whether its client still lives, and that statement ends with it.
        until(no_session(ours, "portaldb migrate"), "the server to notice")
    portaldb("migrate", "--source", str(tmp_path), database=ours, check=True)
    assert counted(ours) == {"0001": 1}


def test_waiter_inside_pg_advisory_lock_deadlocks_with_a_concurrent_index(make_database: MakeDatabase) -> None:
    """Why portaldb polls: a session that waits inside pg_advisory_lock() holds a snapshot the index waits for."""
    url = make_database()
    errors: list[psycopg.Error] = []
    with psycopg.connect(url, autocommit=True) as holder, psycopg.connect(url, autocommit=True) as waiter:
        holder.execute("CREATE TABLE public.t (id int)")
        holder.execute("SELECT pg_advisory_lock(7)")

        def wait() -> None:
            try:
                waiter.execute("SELECT pg_advisory_lock(7)")
            except psycopg.Error as error:
                errors.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        until(lambda: one(url, "SELECT count(*) FROM pg_locks WHERE objid = 7 AND NOT granted"), "the waiter")
        try:
            holder.execute("CREATE INDEX CONCURRENTLY i ON public.t (id)")
        except psycopg.Error as error:
            errors.append(error)
        holder.execute("SELECT pg_advisory_unlock(7)")
        thread.join()
    assert [type(error) for error in errors] == [psycopg.errors.DeadlockDetected]


def test_ten_at_once_apply_each_migration_once(make_database: MakeDatabase, tmp_path: Path) -> None:
    """Ten processes on one database take turns, and an index built concurrently among them ends no one."""
    url = make_database()
    names = [f"{number:04}_step" for number in range(2, 9)]
    up = {"0001_counter": f"{COUNTER} CREATE TABLE public.t AS SELECT id FROM generate_series(1, 1000) AS id;"}
    up |= {name: COUNT % name for name in names}
    up["0005_step"] = "-- transactional: false\nCREATE INDEX CONCURRENTLY idx_t_id ON public.t (id);"
    up["0007_step"] = "-- transactional: false\nCREATE UNIQUE INDEX CONCURRENTLY idx_t_id_unique ON public.t (id);"
    series(tmp_path, up)
    with ExitStack() as at_end:
        all_ten = [at_end.enter_context(command("migrate", "--source", str(tmp_path), database=url)) for _ in range(10)]
        done = [finish(process) for process in all_ten]
    assert [each.returncode for each in done] == [0] * 10, "\n".join(each.stderr for each in done)
    assert counted(url) == {name: 1 for name in names if name not in ("0005_step", "0007_step")}
    assert ask(url, "SELECT indisvalid FROM pg_index WHERE indrelid = 'public.t'::regclass") == [True, True]
    # Each was applied by one of the ten, and told by that one alone.
    told = [line.split()[2] for each in done for line in each.stderr.splitlines() if "applied " in line]
    assert sorted(told) == [f"migrations/{name}.sql" for name in sorted(up)]


# The hash covers the id, not the text ----------------------------------------------------------------------------


def test_edited_applied_file_is_refused_with_its_difference(
    two: tuple[str, str], tmp_path: Path, portaldb: Portaldb
) -> None:
    """What ran is kept, and a file that says something else stops the next migrate."""
    wild, ours = two
    before = "CREATE TABLE public.t (\n    id int,\n    name text\n);\n"
    series(tmp_path, {"0001_t": before})
    yoyo("apply", wild, tmp_path / "migrations")
    portaldb("migrate", "--source", str(tmp_path), database=ours, check=True)
    series(tmp_path, {"0001_t": before.replace("id int", "id bigint"), "0002_next": "SELECT 1;"})

    yoyo("apply", wild, tmp_path / "migrations")
    assert yoyo_list(wild, tmp_path / "migrations") == {"0001_t": "A", "0002_next": "A"}, "yoyo noticed"

    done = portaldb("migrate", "--source", str(tmp_path), database=ours)
    assert done.returncode == 4
    assert "migrations/0001_t.sql is edited" in done.stderr
    assert "-    id int," in done.stderr
    assert "+    id bigint," in done.stderr
    assert ask(ours, "SELECT migration_id FROM public._yoyo_migration") == ["0001_t"]
    assert portaldb("status", "--check", "--source", str(tmp_path), database=ours).returncode == 1

    # Another editor's line endings and byte order mark are no change.
    (tmp_path / "migrations/0001_t.sql").write_bytes(b"\xef\xbb\xbf" + before.replace("\n", "\r\n").encode())
    portaldb("migrate", "--source", str(tmp_path), database=ours, check=True)


# A late file, a deleted file -------------------------------------------------------------------------------------


def test_late_lower_numbered_file_is_refused(two: tuple[str, str], tmp_path: Path, portaldb: Portaldb) -> None:
    """A file that arrives below what is applied was never tried in that order: named, not run."""
    wild, ours = two
    series(tmp_path, {"0001_a": COUNTER, "0003_c": COUNT % "0003"})
    yoyo("apply", wild, tmp_path / "migrations")
    portaldb("migrate", "--source", str(tmp_path), database=ours, check=True)
    series(tmp_path, {"0002_b": COUNT % "0002"})

    yoyo("apply", wild, tmp_path / "migrations")
    assert counted(wild) == {"0002": 1, "0003": 1}, "yoyo refused it"

    said = portaldb("migrate", "--source", str(tmp_path), database=ours)
    assert said.returncode == 4
    assert "migrations/0002_b.sql is out of order" in said.stderr
    assert counted(ours) == {"0003": 1}


def test_deleted_applied_file_is_refused(two: tuple[str, str], tmp_path: Path, portaldb: Portaldb) -> None:
    """What was applied stays in the list, file or no file."""
    wild, ours = two
    series(tmp_path, {"0001_a": COUNTER, "0002_b": COUNT % "0002"})
    yoyo("apply", wild, tmp_path / "migrations")
    portaldb("migrate", "--source", str(tmp_path), database=ours, check=True)
    (tmp_path / "migrations/0002_b.sql").unlink()
    series(tmp_path, {"0003_c": COUNT % "0003"})

    yoyo("apply", wild, tmp_path / "migrations")
    assert yoyo_list(wild, tmp_path / "migrations") == {"0001_a": "A", "0003_c": "A"}, "yoyo remembers 0002_b"

    said = portaldb("migrate", "--source", str(tmp_path), database=ours)
    assert said.returncode == 4
    assert "0002_b is missing" in said.stderr
    assert counted(ours) == {"0002": 1}
    assert "0002_b" in portaldb("status", "--source", str(tmp_path), database=ours, check=True).stdout


# No way back -----------------------------------------------------------------------------------------------------


def test_missing_rollback_file_is_refused(two: tuple[str, str], tmp_path: Path, portaldb: Portaldb) -> None:
    """Without a way back nothing is forgotten; the file may say itself why there is none."""
    wild, ours = two
    series(tmp_path, {"0001_a": COUNTER})
    yoyo("apply", wild, tmp_path / "migrations")
    portaldb("migrate", "--source", str(tmp_path), database=ours, check=True)

    yoyo("rollback", wild, tmp_path / "migrations")
    assert yoyo_list(wild, tmp_path / "migrations") == {"0001_a": "U"}
    assert one(wild, "SELECT to_regclass('public.counter') IS NOT NULL"), "yoyo did more than un-mark"

    done = portaldb("rollback", "--steps", "1", "--yes", "--source", str(tmp_path), database=ours)
    assert "migrations/0001_a.sql has no 0001_a.rollback.sql beside it" in paragraph(done, 4)
    assert ask(ours, "SELECT migration_id FROM public._yoyo_migration") == ["0001_a"]


# BadMigration is skipped -----------------------------------------------------------------------------------------


def test_bad_migration_stops_everything(two: tuple[str, str], tmp_path: Path, portaldb: Portaldb) -> None:
    """A file that cannot be taken is an error before the first statement, not a gap in the series."""
    wild, ours = two
    series(
        tmp_path,
        {
            "0001_a": COUNTER,
            "0002_b": f"-- depends: 0000_nowhere\n{COUNT % '0002'}",
            "0003_c": COUNT % "0003",
        },
    )
    with plain.get_backend(yoyo_url(wild)) as backend:
        backend.init_database()
        backend.apply_migrations(plain.read_migrations(str(tmp_path / "migrations")))
    assert counted(wild) == {"0003": 1}, "yoyo did not skip 0002_b in silence"

    said = paragraph(portaldb("migrate", "--source", str(tmp_path), database=ours), 4)
    assert "migrations/0002_b.sql depends on 0000_nowhere" in said
    assert not one(ours, "SELECT to_regclass('public.counter') IS NOT NULL")


# Statements split wrongly ----------------------------------------------------------------------------------------


def test_column_named_begin_does_not_merge_statements(two: tuple[str, str], tmp_path: Path, portaldb: Portaldb) -> None:
    """PostgreSQL's own parser splits: a word that is no keyword here, a backslash that escapes nothing."""
    wild, ours = two
    text = (
        "CREATE TABLE public.spans (begin int, word text);\n"
        "INSERT INTO public.spans VALUES (1, 'c:\\');\n"
        "INSERT INTO public.spans VALUES (1, 'd:\\');\n\n"
        "CREATE UNIQUE INDEX spans_begin ON public.spans (begin);\n"
    )
    series(tmp_path, {"0001_spans": text})
    (read,) = plain.read_migrations(str(tmp_path / "migrations"))
    read.load()
    assert len(read.steps) < 4, "sqlparse split it right"
    with pytest.raises(psycopg.errors.UniqueViolation) as wild_error, plain.get_backend(yoyo_url(wild)) as backend:
        backend.init_database()
        backend.apply_migrations(backend.to_apply(plain.read_migrations(str(tmp_path / "migrations"))))
    assert "line" not in str(wild_error.value).lower(), "yoyo names the line"

    said = paragraph(portaldb("migrate", "--source", str(tmp_path), database=ours), 5)
    assert "migrations/0001_spans.sql failed" in said
    assert "5 | CREATE UNIQUE INDEX spans_begin ON public.spans (begin);" in said
    assert "line 5: could not create unique index" in said


# Listing needs write rights --------------------------------------------------------------------------------------


def test_reader_may_look(make_database: MakeDatabase, login: Login, portaldb: Portaldb, tmp_path: Path) -> None:
    """The monitor's login sees status and plan; plain yoyo cannot even list without making tables."""
    url = make_database()
    series(tmp_path, {"0001_a": COUNTER})
    portaldb("migrate", "--source", str(tmp_path), database=url, check=True)
    series(tmp_path, {"0002_b": COUNT % "0002"})
    ask(url, "GRANT USAGE ON SCHEMA public TO portal_monitor")  # the real series' first migration
    reader = login(url, "portal_monitor")

    with (
        plain.get_backend(yoyo_url(reader)) as backend,
        pytest.raises(psycopg.Error, match="yoyo_lock"),
        backend.lock(timeout=0.1),  # as `yoyo list` does, which waits 10 s for the right to write a row
    ):
        pass

    shown = portaldb("status", "--source", str(tmp_path), database=reader, check=True).stdout
    assert [line.split()[:2] for line in shown.splitlines() if line.startswith("000")] == [
        ["0001_a", "applied"],
        ["0002_b", "pending"],
    ]
    assert "0002_b" in portaldb("plan", "--source", str(tmp_path), database=reader, check=True).stdout
    said = paragraph(portaldb("migrate", "--source", str(tmp_path), database=reader), 8)
    assert "is not a member of mcp_admin" in said


@pytest.mark.parametrize("role", [None, "portal_app"])
def test_login_without_rights_is_told_so(
    role: str | None, make_database: MakeDatabase, login: Login, portaldb: Portaldb
) -> None:
    """Who may not connect, and who may connect and not read the record, get exit code 8 and one paragraph."""
    url = login(make_database(migrate=True), role)
    for verb in ("status", "plan", "migrate"):
        assert "permission denied" in paragraph(portaldb(verb, database=url), 8) or verb == "migrate"


def test_plain_yoyo_lists_our_database(make_database: MakeDatabase) -> None:
    """Whoever knows yoyo finds every migration of the real series applied, by its own bookkeeping."""
    from portaldb.layout import FOLDERS, sql_root
    from portaldb.source import read

    url = make_database(migrate=True)
    listed = yoyo_list(url, *(sql_root() / folder for folder in FOLDERS))
    assert listed == {migration.id: "A" for migration in read(sql_root())}


# No lock timeout -------------------------------------------------------------------------------------------------


def test_traffic_flows_while_a_migration_waits(two: tuple[str, str], tmp_path: Path, portaldb: Portaldb) -> None:
    """Behind a long transaction we let everyone pass again and again; yoyo holds them all up to its end."""
    wild, ours = two
    for url in two:
        ask(url, "CREATE TABLE public.t (id int)")
        ask(url, "ALTER TABLE public.t OWNER TO mcp_admin")
    series(tmp_path, {"0001_t": "-- a column\nALTER TABLE public.t ADD COLUMN name text;"})

    with psycopg.connect(wild) as long, psycopg.connect(wild, autocommit=True) as traffic:
        long.execute("SELECT count(*) FROM public.t")
        with running(yoyo_argv("apply", wild, tmp_path / "migrations"), {}):
            until(lambda: one(wild, "SELECT count(*) FROM pg_locks WHERE NOT granted"), "yoyo to queue")
            traffic.execute("SET lock_timeout = '500ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                traffic.execute("SELECT count(*) FROM public.t")

    with psycopg.connect(ours, application_name="a long report") as long:
        long.execute("SELECT count(*) FROM public.t")
        pid = long.info.backend_pid
        options = ("--lock-timeout", "0.2", "--source", str(tmp_path))
        with command("migrate", *options, database=ours) as process, Traffic(ours) as flow:
            assert process.stderr is not None
            retries = [process.stderr.readline() for _ in range(3)]
            reads, longest = flow.reads, flow.longest
            long.commit()
            done = finish(process)
    assert done.returncode == 0, done.stderr
    for line in retries:
        assert line.startswith("retrying migrations/0001_t.sql: no lock within 0.2 s, at line 2 (ALTER TABLE")
        assert f"process {pid} (" in line
        assert "a long report" in line
        assert "in a transaction for" in line
    assert one(ours, "SELECT count(*) FROM pg_attribute WHERE attrelid = 'public.t'::regclass AND attname = 'name'")
    assert reads > 20
    assert longest < 0.2 + 0.5, f"a reader waited {longest:.2f} s behind a lock timeout of 0.2 s"

    with psycopg.connect(ours) as long:
        long.execute("SELECT count(*) FROM public.t")
        series(tmp_path, {"0002_t": "ALTER TABLE public.t ADD COLUMN age int;"})
        impatient = ("--lock-timeout", "0.1", "--retry-for", "0.3", "--source", str(tmp_path))
        said = paragraph(portaldb("migrate", *impatient, database=ours), 6)
        assert "migrations/0002_t.sql did not get a lock in 0.1 s, tried for 0.3 s" in said
        assert f"process {long.info.backend_pid} (" in said
    portaldb("migrate", "--source", str(tmp_path), database=ours, check=True)


# A pooler in between ---------------------------------------------------------------------------------------------


POOLED = "SELECT current_user, current_setting('default_transaction_read_only'), current_setting('lock_timeout')"
ADVISORY = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


@pytest.mark.parametrize("server_round_robin", [0, 1])
def test_transaction_pooler_is_refused(
    server_round_robin: int, make_database: MakeDatabase, pooler: Pooler, tmp_path: Path, portaldb: Portaldb
) -> None:
    """Where our lock and our role would reach the next client, nothing is done; to look leaves nothing."""
    url = make_database()
    series(tmp_path, {"0001_a": COUNTER}, {"0001_a": "DROP TABLE public.counter;"})
    pooled = pooler(url, "pool_mode = transaction", f"server_round_robin = {server_round_robin}")

    with psycopg.connect(pooled, autocommit=True) as first, psycopg.connect(pooled, autocommit=True) as second:
        first.execute("SELECT pg_advisory_lock(1), set_config('role', 'mcp_admin', false)")
        seen = second.execute("SELECT pg_try_advisory_lock(1), current_user").fetchone()
        assert seen == (True, "mcp_admin"), "the pooler kept the two apart"
        second.execute("SELECT pg_advisory_unlock_all(), set_config('role', 'none', false)")
        # Two backends in the pool, so that a second client is not bound to meet the first one's.
        with first.transaction(), second.transaction():
            first.execute("SELECT 1")
            second.execute("SELECT 1")

    assert "0001_a" in portaldb("status", "--source", str(tmp_path), database=pooled, check=True).stdout
    assert "0001_a" in portaldb("plan", "--source", str(tmp_path), database=pooled, check=True).stdout
    said = paragraph(portaldb("migrate", "--source", str(tmp_path), database=pooled), 4)
    assert "goes through a pooler in transaction mode" in said
    assert not one(url, "SELECT to_regclass('public.counter') IS NOT NULL")

    portaldb("migrate", "--source", str(tmp_path), database=url, check=True)
    paragraph(portaldb("rollback", "--to", "0", "--yes", "--source", str(tmp_path), database=pooled), 4)
    assert counted(url) == {}
    with psycopg.connect(pooled, autocommit=True) as first, psycopg.connect(pooled, autocommit=True) as second:
        first.execute("BEGIN")
        second.execute("BEGIN")
        assert [client.execute(POOLED).fetchone() for client in (first, second)] == [("postgres", "off", "0")] * 2
    assert one(url, ADVISORY) == 0


def test_session_pooler_is_allowed(
    make_database: MakeDatabase, pooler: Pooler, tmp_path: Path, portaldb: Portaldb
) -> None:
    """Where each client keeps its backend, migrate works, and leaves neither lock nor role in the pool."""
    url = make_database()
    index = "-- transactional: false\nCREATE INDEX CONCURRENTLY idx_counter_id ON public.counter (id);"
    series(tmp_path, {"0001_a": COUNTER, "0002_b": index})
    pooled = pooler(url, "pool_mode = session", "default_pool_size = 5")
    portaldb("migrate", "--source", str(tmp_path), database=pooled, check=True)
    assert counted(url) == {}
    until(lambda: one(url, ADVISORY) == 0, "the pool to let the lock go")
    with psycopg.connect(pooled, autocommit=True) as client:
        assert client.execute(POOLED).fetchone() == ("postgres", "off", "0")


def test_pool_of_one_session_is_refused_in_time(
    make_database: MakeDatabase, pooler: Pooler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool that gives no second connection cannot be told from a transaction pool: no hang, a sentence."""
    pooled = pooler(make_database(), "pool_mode = session", "default_pool_size = 1")
    monkeypatch.setattr(database, "_POOLER_SECONDS", 0.3)
    with (
        database.connect(pooled) as connection,
        pytest.raises(RefusedError, match=r"gave no second connection within 0\.3 s"),
    ):
        database.require_direct(connection, pooled)


class Traffic:
    """A reader that asks one table again and again, and knows its longest wait in seconds."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.reads = 0
        self.longest = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            while not self._stop.wait(0.005):
                started = time.monotonic()
                connection.execute("SELECT count(*) FROM public.t")
                self.longest = max(self.longest, time.monotonic() - started)
                self.reads += 1

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
