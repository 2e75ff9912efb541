"""What the engine promises beyond the hazards of yoyo: one session for all, nothing of another's taken for its own."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from conftest import MakeDatabase, Portaldb
from support import ask, command, finish, one, series, until, waits_for_lock

from portaldb import engine
from portaldb.errors import LockTimeoutError, MigrationFailedError, RefusedError
from portaldb.history import State, compare, records
from portaldb.source import read

Run = Callable[..., list[str]]
OUTSIDE = "-- transactional: false\n"


class Said(list[str]):
    """Collects what the engine says."""

    def __call__(self, line: str, *, passing: bool = False) -> None:
        """Take a line that stays."""
        if not passing:
            self.append(line)


@pytest.fixture
def url(make_database: MakeDatabase) -> str:
    """Make a database after init."""
    return make_database()


@pytest.fixture
def run(url: str, tmp_path: Path) -> Run:
    """Write files and migrate in this process: `run({"0001_a": SQL}, dry_run=True)` returns what was done."""
    said = Said()

    def migrate(files: dict[str, str], *, dry_run: bool = False, options: engine.Options | None = None) -> list[str]:
        series(tmp_path, files)
        done = engine.migrate(
            url,
            read(tmp_path),
            to=None,
            options=options or engine.Options(),
            wait=0,
            dry_run=dry_run,
            say=said,
        )
        return [each.id for each in done]

    return migrate


def states(url: str, root: Path) -> list[State]:
    """Return the state of each migration."""
    from portaldb import database

    with database.connect(url) as connection, database.reading(connection):
        return [entry.state for entry in compare(read(root), records(connection))]


# One session for all ---------------------------------------------------------------------------------------------


def test_what_a_migration_sets_does_not_reach_the_next(url: str, run: Run) -> None:
    """Settings, a role, temporary tables: each migration, and each outside a transaction, begins as the first did."""
    run(
        {
            "0001_set": "CREATE SCHEMA other; CREATE TABLE public.t (id int);"
            "SET search_path = other; SET lock_timeout = '1h'; SET check_function_bodies = off;"
            "SET timezone = 'Asia/Tokyo'; SET default_tablespace = 'pg_default'; RESET ROLE;"
            "CREATE TEMPORARY TABLE kept (id int);",
            "0002_index": f"{OUTSIDE}CREATE INDEX CONCURRENTLY idx_t_id ON t (id);",
            "0003_seen": "CREATE TABLE seen AS SELECT current_setting('search_path') AS path, "
            "current_setting('lock_timeout') AS wait, current_setting('timezone') AS zone, "
            "current_setting('check_function_bodies') AS bodies, current_user::text AS who, "
            "to_regclass('pg_temp.kept')::text AS kept;",
        }
    )
    assert ask(url, "SELECT * FROM public.seen") == [("public, pg_temp", "2s", "UTC", "on", "mcp_admin", None)]
    owners = ask(url, "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relname IN ('idx_t_id', 'seen')")
    assert owners == ["mcp_admin"]


def test_retry_begins_anew(url: str, run: Run) -> None:
    """A migration that met a lock after its first statements leaves nothing of them for its next attempt."""
    ask(url, "CREATE TABLE public.t (id int); ALTER TABLE public.t OWNER TO mcp_admin")
    impatient = engine.Options(lock_timeout=0.1, retry_for=0.2)
    files = {"0001_a": "CREATE TABLE public.first ();\nALTER TABLE public.t ADD COLUMN name text;"}
    with psycopg.connect(url) as long:
        long.execute("SELECT * FROM public.t")
        with pytest.raises(LockTimeoutError, match=r"at line 2 \(ALTER TABLE public\.t") as caught:
            run(files, options=impatient)
        assert f"process {long.info.backend_pid} (" in str(caught.value)
    assert not one(url, "SELECT to_regclass('public.first') IS NOT NULL")
    assert run(files) == ["0001_a"]


def test_blocker_of_a_row_is_named(url: str, run: Run) -> None:
    """A row that somebody holds is a lock as well."""
    ask(url, "CREATE TABLE public.t (id int); INSERT INTO public.t VALUES (1); ALTER TABLE public.t OWNER TO mcp_admin")
    with psycopg.connect(url, application_name="row holder") as long:
        long.execute("UPDATE public.t SET id = 2")
        with pytest.raises(LockTimeoutError, match="row holder"):
            run({"0001_a": "UPDATE public.t SET id = 3;"}, options=engine.Options(lock_timeout=0.1, retry_for=0))


# Outside a transaction -------------------------------------------------------------------------------------------


def test_index_of_another_is_not_taken_for_ours(url: str, run: Run, tmp_path: Path) -> None:
    """An index that stands under the name before the migration first ran is a surprise, and stays as it is."""
    ask(url, "CREATE TABLE public.t (a int, b int); CREATE INDEX idx_t ON public.t (b)")
    ask(url, "ALTER TABLE public.t OWNER TO mcp_admin")
    files = {"0001_index": f"{OUTSIDE}CREATE INDEX CONCURRENTLY idx_t ON public.t (a);"}
    with pytest.raises(MigrationFailedError, match='relation "idx_t" already exists'):
        run(files)
    assert one(url, "SELECT pg_get_indexdef('public.idx_t'::regclass)").endswith("(b)")
    assert states(url, tmp_path) == [State.FAILED]
    ask(url, "DROP INDEX public.idx_t")
    assert run(files) == ["0001_index"]


def test_index_that_another_is_building_is_left_to_them(url: str, run: Run) -> None:
    """An INVALID index of that name may be somebody's who is at work: it is not dropped under them."""
    ask(url, "CREATE TABLE public.t (a int); INSERT INTO public.t VALUES (1), (1)")
    with psycopg.connect(url, autocommit=True) as other, pytest.raises(psycopg.errors.UniqueViolation):
        other.execute("CREATE UNIQUE INDEX CONCURRENTLY idx_t ON public.t (a)")
    ask(url, "ALTER TABLE public.t OWNER TO mcp_admin")
    with pytest.raises(MigrationFailedError, match="already exists"):
        run({"0001_index": f"{OUTSIDE}CREATE INDEX CONCURRENTLY idx_t ON public.t (a);"})
    assert one(url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'public.idx_t'::regclass") is False


def test_index_that_cannot_be_built_leaves_nothing(url: str, run: Run, tmp_path: Path) -> None:
    """A duplicate key ends it: no INVALID index slows writes, and the mended file may be another one."""
    with pytest.raises(MigrationFailedError, match=r"line 2: could not create unique index"):
        run(
            {
                "0001_t": "CREATE TABLE public.t AS SELECT 1 AS a FROM generate_series(1, 2);",
                "0002_index": f"{OUTSIDE}CREATE UNIQUE INDEX CONCURRENTLY idx_t ON public.t (a);",
            }
        )
    assert ask(url, "SELECT indexrelid FROM pg_index WHERE indrelid = 'public.t'::regclass") == []
    assert states(url, tmp_path) == [State.APPLIED, State.FAILED]
    assert run({"0002_index": f"{OUTSIDE}CREATE INDEX CONCURRENTLY idx_t ON public.t (a);"}) == ["0002_index"]


def test_begun_and_then_edited_is_refused(url: str, run: Run, tmp_path: Path) -> None:
    """What was begun may stand already: a file that now says something else is not recorded for it."""
    run({"0001_t": "CREATE TABLE public.t (a int, b int);"})
    ask(
        url,
        "INSERT INTO public._portaldb_migration (migration_id, state, checksum, sql) "
        "VALUES ('0002_index', 'started', 'of another text', 'another text')",
    )
    ask(url, "CREATE INDEX idx_t ON public.t (b)")
    with pytest.raises(RefusedError, match=r"0002_index\.sql is edited"):
        run({"0002_index": f"{OUTSIDE}CREATE INDEX CONCURRENTLY idx_t ON public.t (a);"})


def test_old_snapshot_that_holds_up_an_index_is_named(url: str, run: Run, tmp_path: Path) -> None:
    """An index waits for every older transaction, and says for whose."""
    run({"0001_t": "CREATE TABLE public.t (a int);"})
    series(tmp_path, {"0002_index": f"{OUTSIDE}CREATE INDEX CONCURRENTLY idx_t ON public.t (a);"})
    with psycopg.connect(url, application_name="nightly report") as old:
        old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        old.execute("SELECT 1")
        pid = old.info.backend_pid
        with command("migrate", "--source", str(tmp_path), database=url) as process:
            assert process.stderr is not None
            said = process.stderr.readline()
            old.commit()
            assert finish(process).returncode == 0
    assert said.startswith("waiting: migrations/0002_index.sql goes on when this session's transaction ends: process ")
    assert f"process {pid} (" in said
    assert "nightly report, idle in transaction, in a transaction for" in said


def test_vacuum_runs_outside_a_transaction(url: str, run: Run) -> None:
    """It can be run again at will."""
    files = {"0001_t": "CREATE TABLE public.t (a int);", "0002_vacuum": f"{OUTSIDE}VACUUM (ANALYZE) public.t;"}
    assert run(files) == ["0001_t", "0002_vacuum"]


def test_missing_index_is_not_dropped_in_silence(url: str, run: Run) -> None:
    """Only a drop that was begun may find nothing."""
    with pytest.raises(MigrationFailedError, match='index "idx_t" does not exist'):
        run({"0001_index": f"{OUTSIDE}DROP INDEX CONCURRENTLY public.idx_t;"})


# A rehearsal -----------------------------------------------------------------------------------------------------


def test_dry_run_changes_nothing(url: str, run: Run) -> None:
    """Everything runs, and nothing stays: no table, no record; an error is found."""
    before = ask(url, "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1")
    files = {
        "0001_t": "CREATE TABLE public.t (a int); SET timezone = 'Asia/Tokyo';",
        "0002_index": f"{OUTSIDE}CREATE INDEX CONCURRENTLY idx_t ON public.t (a);",
        "0003_v": "CREATE VIEW public.v AS SELECT a FROM public.t;",
    }
    assert run(files, dry_run=True) == list(files)
    after = ask(url, "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1")
    assert after == before
    with pytest.raises(MigrationFailedError, match='line 1: column "b" does not exist'):
        run(files | {"0003_v": "CREATE VIEW public.v AS SELECT b FROM public.t;"}, dry_run=True)


def test_dry_run_of_what_cannot_be_rehearsed_says_so(url: str, portaldb: Portaldb, tmp_path: Path) -> None:
    """A lone index built concurrently is pending all the same."""
    series(tmp_path, {"0001_t": "CREATE TABLE public.t (a int);"})
    portaldb("migrate", "--source", str(tmp_path), database=url, check=True)
    series(tmp_path, {"0002_index": f"{OUTSIDE}CREATE INDEX CONCURRENTLY idx_t ON public.t (a);"})
    done = portaldb("migrate", "--dry-run", "--source", str(tmp_path), database=url, check=True)
    assert "skipped   migrations/0002_index.sql" in done.stderr
    assert "1 migration" in done.stdout
    assert not one(url, "SELECT to_regclass('public.idx_t') IS NOT NULL")


# One engine at a time --------------------------------------------------------------------------------------------


def test_second_engine_says_for_whom_it_waits(url: str, run: Run, tmp_path: Path) -> None:
    """The holder is named by program, login and process; patience has an end, with a code of its own."""
    series(tmp_path, {"0001_wait": "SELECT pg_advisory_xact_lock(42);"})
    with psycopg.connect(url) as holder:
        holder.execute("SELECT pg_advisory_lock(42)")
        with command("migrate", "--source", str(tmp_path), "--lock-timeout", "60", database=url) as first:
            until(waits_for_lock(url, "portaldb migrate"), "the first to be at work")
            with pytest.raises(
                LockTimeoutError, match=r"portaldb migrate of postgres .*\(process \d+\) is still at work"
            ):
                run({}, options=engine.Options(queue_for=0.2))
            holder.execute("SELECT pg_advisory_unlock(42)")
            assert finish(first).returncode == 0
    assert run({}) == []


def test_lock_that_is_not_this_backends_stops_the_work(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a pooler hid itself and moves us to another backend, nothing is changed without the lock."""
    monkeypatch.setattr(engine, "_wait_for_lock", lambda *_: None)
    with pytest.raises(RefusedError, match="a pooler stands in between"):
        run({"0001_a": "CREATE TABLE public.a ();"})
    with pytest.raises(RefusedError, match="a pooler stands in between"):
        run({"0001_a": f"{OUTSIDE}VACUUM;"})
    assert not one(url, "SELECT to_regclass('public.a') IS NOT NULL")


def test_nothing_to_do_waits_for_nobody(url: str, run: Run) -> None:
    """A deployment that has nothing to apply does not queue behind one that works."""
    run({"0001_a": "SELECT 1;"})
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [engine.LOCK_KEY])
        assert run({}, options=engine.Options(queue_for=0)) == []
