"""Whatever is wrong: one paragraph for the person who typed the command, a documented code, and nothing lost.

A password is never printed, logged, or put where others can read it.
"""

import os
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Login, MakeDatabase, Portaldb
from psycopg import conninfo
from support import ask, command, finish, no_session, one, paragraph, series, until

from portaldb import bootstrap, database
from portaldb.cluster import Cluster, _owner_for
from portaldb.errors import RefusedError
from portaldb.programs import run

APPLIED = "SELECT migration_id FROM public._yoyo_migration ORDER BY 1"
FAILED = "SELECT migration_id FROM public._portaldb_migration WHERE state = 'failed'"

# Where the server is ---------------------------------------------------------------------------------------------

SECRET = "s3cr"


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "mysql://root:s3cr@h/d",
        "postgresql://u:s3cr/et@h/d",
        "postgresql://u:s3cr@et@h/d",
        "postgresql://u:s3cr et@h/d",
        "postgresql://u:s3cr%et@h/d",
        'postgresql://u:s3cr"et@[h/d',
        "postgresql://u:s3cr?a/b@h/d",
        "postgresql://h:s3cr/d",
        "host=h password s3cr",
        "host=h password='s3cr",
        "host=h password='s3cr' 's3cr",
        "host=h nosuchoption=s3cr",
    ],
)
def test_unreadable_url_is_said_without_its_password(url: str, portaldb: Portaldb) -> None:
    """A URL that cannot be read, or that is read with a piece of the password as host, is not quoted."""
    done = portaldb("status", database=url)
    assert "the connection string cannot be read" in paragraph(done, 2)
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("verb", "url", "said"),
    [
        ("status", "postgresql://u:s3cr@h/d", "DATABASE_URL"),
        ("migrate", "host=h password=s3cr", "DATABASE_URL"),
        ("init", "postgresql://h/d?password=s3cr", "DATABASE_URL"),
        ("plan", "sslpassword=s3cr", "DATABASE_URL"),
        ("rollback", "postgresql://u:s3cr@et@h/d", "cannot be read"),
    ],
)
def test_password_on_the_command_line_is_refused(verb: str, url: str, said: str, portaldb: Portaldb) -> None:
    """Everybody on the machine can read a command line: the variable, or a file, is the place."""
    done = portaldb(verb, "--database", url)
    assert done.returncode == 2
    assert said in done.stderr
    assert SECRET not in done.stdout + done.stderr


def test_no_server_is_said(portaldb: Portaldb, tmp_path: Path) -> None:
    """Neither a socket nor a port answers: where it looked, what came back, what to do."""
    said = paragraph(portaldb("status", database=f"postgresql:///mcp_portal?host={tmp_path}"), 3)
    assert f"Could not connect to mcp_portal on {tmp_path}, port 5432" in said
    assert "Check that the server runs" in said
    said = paragraph(portaldb("migrate", database="postgresql://127.0.0.1:1/x"), 3)
    assert "Connection refused" in said
    said = paragraph(portaldb("migrate", database="postgresql://no.such.host.invalid/x"), 3)
    assert "Correct the host name" in said


def test_unknown_service_is_said(portaldb: Portaldb) -> None:
    """A service that no file defines."""
    assert "nowhere" in paragraph(portaldb("status", database="service=nowhere"), 3)


def test_service_file_names_the_server(make_database: MakeDatabase, portaldb: Portaldb, tmp_path: Path) -> None:
    """A service file, libpq's way, leads init, migrate and status to the same database."""
    parts = conninfo.conninfo_to_dict(make_database(migrate=True))
    file = tmp_path / "services"
    file.write_text("[ours]\n" + "".join(f"{key}={value}\n" for key, value in parts.items()))
    for env in ({"DATABASE_URL": "service=ours"}, {"PGSERVICE": "ours"}):
        settings = env | {"PGSERVICEFILE": str(file)}
        assert str(parts["dbname"]) in portaldb("status", "--check", env=settings, check=True).stdout
        assert "Nothing was missing" in portaldb("init", env=settings, check=True).stdout


def test_unknown_database_and_role_are_said(server: str, portaldb: Portaldb) -> None:
    """The server's word, and init as the way."""
    said = paragraph(portaldb("migrate", database=conninfo.make_conninfo(server, dbname="nowhere")), 3)
    assert 'database "nowhere" does not exist' in said
    assert "portaldb init" in said


def test_wrong_password_is_said_and_not_shown(login: Login, server: str, portaldb: Portaldb) -> None:
    """Refused by the server: the login and where passwords come from, not the password."""
    url = login(server)
    right, wrong = conninfo.conninfo_to_dict(url)["password"], f"{SECRET}{secrets.token_hex(8)}"
    done = portaldb("status", database=conninfo.make_conninfo(url, password=wrong))
    said = paragraph(done, 3)
    assert "password authentication failed" in said
    assert "~/.pgpass" in said
    assert wrong not in done.stderr
    assert str(right) not in done.stderr


# Who asks, and of what -------------------------------------------------------------------------------------------


def test_stranger_may_not_migrate(make_database: MakeDatabase, login: Login, portaldb: Portaldb) -> None:
    """A login that may connect and is no member of the owner hears how to become one."""
    url = login(make_database(migrate=True), "portal_monitor")
    for verb in (["migrate"], ["rollback", "--to", "0", "--yes"]):
        said = paragraph(portaldb(*verb, database=url), 8)
        assert "is not a member of mcp_admin" in said
        assert "GRANT mcp_admin TO login_" in said


def test_database_without_init_is_refused(make_database: MakeDatabase, portaldb: Portaldb) -> None:
    """Another's database is not written to."""
    url = make_database(init=False)
    said = paragraph(portaldb("migrate", database=url), 4)
    assert "Run `portaldb init`" in said
    assert ask(url, "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace") == []


def test_missing_extension_is_refused_before_anything(make_database: MakeDatabase, portaldb: Portaldb) -> None:
    """An extension that the schema needs is named, with what makes it."""
    url = make_database()
    ask(url, "DROP EXTENSION pgcrypto")
    said = paragraph(portaldb("migrate", database=url), 4)
    assert "The extension pgcrypto is not in" in said
    assert "portaldb init" in said
    assert not one(url, "SELECT to_regclass('public._yoyo_migration') IS NOT NULL")


def test_old_server_is_refused(make_database: MakeDatabase) -> None:
    """What 15 brought is used everywhere."""
    with database.connect(make_database()) as connection:
        found = database.facts(connection)
        database.require_owner(found)
        with pytest.raises(RefusedError, match="The server is PostgreSQL 14; these migrations need 15 or newer"):
            database.require_owner(replace(found, version=140021))
        who = bootstrap._one(connection, "server")
        bootstrap._require(who, "mcp_portal")
        with pytest.raises(RefusedError, match="The server is PostgreSQL 14; mcp_portal needs 15 or newer"):
            bootstrap._require(who | {"version": 140021}, "mcp_portal")


@pytest.fixture
def standby(cluster: Cluster) -> Iterator[Cluster]:
    """Copy the session's server and let the copy follow it."""
    base = Path(tempfile.mkdtemp(prefix="standby-"))
    base.chmod(0o755)
    (base / "run").mkdir()
    for path in (base, base / "run"):
        os.chown(path, cluster.uid, -1)
    follower = replace(cluster, base=base, socket=base / "run", port=cluster.port)
    where = ("-h", cluster.socket, "-p", str(cluster.port), "-U", "postgres")
    program = cluster.programs / "pg_basebackup"
    run("copying", program, *where, "-D", follower.data, "-R", "-c", "fast", "-X", "stream", uid=cluster.uid)
    yield follower.start()
    follower.destroy()


def test_standby_is_refused_for_writing_and_shows_status(
    cluster: Cluster, standby: Cluster, make_database: MakeDatabase, portaldb: Portaldb
) -> None:
    """A standby answers status as its primary does; what writes names the primary as the place."""
    name = str(conninfo.conninfo_to_dict(make_database(migrate=True))["dbname"])
    url = standby.url(name)
    until(
        lambda: ask(standby.url("postgres"), "SELECT 1 FROM pg_database WHERE datname = %s", name),
        "the standby to follow",
    )
    shown = portaldb("status", "--json", database=cluster.url(name), check=True).stdout
    assert portaldb("status", "--check", "--json", database=url, check=True).stdout == shown
    portaldb("plan", database=url, check=True)
    for verb in (["audit", "export"], ["audit", "tail"], ["jobs", "list"]):
        portaldb(*verb, database=url, check=True)
    for verb in (["migrate"], ["rollback", "--to", "0", "--yes"], ["init"], ["jobs", "run", "--due"], ["jobs", "sync"]):
        assert "standby" in paragraph(portaldb(*verb, database=url), 4)


def test_settings_of_the_login_do_not_matter(
    make_database: MakeDatabase, login: Login, portaldb: Portaldb, tmp_path: Path
) -> None:
    """What a DBA set for a login, or a person for their shell, changes nothing of what a migration makes."""
    series(
        tmp_path,
        {
            "0001_slow": "SELECT pg_sleep(0.3);",
            "0002_when": "CREATE TABLE public.moments AS SELECT '01/02/2024'::date AS day, "
            "'2024-01-01 00:00'::timestamptz AS start, '€' AS sign;",
        },
    )
    url = make_database()
    member = login(url, "mcp_admin")
    name = conninfo.conninfo_to_dict(member)["user"]
    for setting in (
        "default_transaction_read_only = on",
        "statement_timeout = '100ms'",
        "idle_in_transaction_session_timeout = '2s'",
        "lock_timeout = '1ms'",
        "search_path = nowhere",
        "timezone = 'Asia/Tokyo'",
        "datestyle = 'SQL, DMY'",
        "row_security = off",
        "default_transaction_isolation = 'serializable'",
        "standard_conforming_strings = off",
    ):
        ask(url, f"ALTER ROLE {name} SET {setting}")
    env = {
        "PGCLIENTENCODING": "LATIN1",
        "PGTZ": "America/New_York",
        "PGDATESTYLE": "German",
        "PGOPTIONS": "-c geqo=off",
    }
    portaldb("migrate", "--source", str(tmp_path), database=member, env=env, check=True)
    (row,) = ask(url, "SELECT day::text, start AT TIME ZONE 'UTC', sign FROM public.moments")
    assert (row[0], str(row[1]), row[2]) == ("2024-01-02", "2024-01-01 00:00:00", "€")
    assert ask(url, "SELECT username FROM public._portaldb_migration") == [name, name]


# What the files say ----------------------------------------------------------------------------------------------


def twelve(seventh: str) -> dict[str, str]:
    """Return twelve migrations, the seventh of which is given."""
    names = [f"{number:04}_t{number}" for number in range(1, 13)]
    return {name: f"CREATE TABLE public.{name[5:]} (id int PRIMARY KEY);\n" for name in names} | {"0007_t7": seventh}


SEVENTH = {
    "a syntax error": (
        "-- The seventh.\nCREATE TABLE public.t7 (id int);\nCREATE TABEL public.t7b (id int);\n",
        [
            "    3 | CREATE TABEL public.t7b (id int);",
            "               ^",
            '    line 3: syntax error at or near "TABEL" (42601).',
        ],
    ),
    "a name that is not there": (
        "CREATE TABLE public.t7 (id int);\nINSERT INTO public.t7\n    VALUES ('é', nowhere);\n",
        [
            "    3 |     VALUES ('é', nowhere);",
            "                         ^",
            '    line 3: column "nowhere" does not exist (42703).',
        ],
    ),
    "a unique violation": (
        "CREATE TABLE public.t7 (id text PRIMARY KEY);\n\nINSERT INTO public.t7\nVALUES ('s3cr'), ('s3cr');\n",
        [
            "    3 | INSERT INTO public.t7",
            '    line 3: duplicate key value violates unique constraint "t7_pkey" (23505).',
        ],
    ),
    "a deferred constraint": (
        "CREATE TABLE public.t7 (id int UNIQUE DEFERRABLE INITIALLY DEFERRED);\n"
        "INSERT INTO public.t7 VALUES (1), (1);\n",
        [
            "    2 | INSERT INTO public.t7 VALUES (1), (1);",
            "    in the check of deferred constraints",
            '    line 2: duplicate key value violates unique constraint "t7_id_key" (23505).',
        ],
    ),
    "a function's body": (
        "CREATE TABLE public.t7 (id int);\nCREATE FUNCTION public.f() RETURNS int LANGUAGE plpgsql AS $$\n"
        "BEGIN\n\tRETRUN 1;\nEND $$;\n",
        ["    4 | \tRETRUN 1;", "        \t^", '    line 4: syntax error at or near "RETRUN" (42601).'],
    ),
    "a function that runs": (
        "CREATE TABLE public.t7 (id int);\nDO $$\nBEGIN\n    PERFORM 1 / 0;\nEND $$;\n",
        [
            "    2 | DO $$",
            '    in SQL statement "SELECT 1 / 0"',
            "    line 2: division by zero (22012).",
        ],
    ),
    "a RAISE with a hint": (
        "CREATE TABLE public.t7 (id int);\nDO $$ BEGIN RAISE 'no\nway' USING HINT = 'Go home.'; END $$;\n",
        [
            "    2 | DO $$ BEGIN RAISE 'no",
            "    in PL/pgSQL function inline_code_block line 1 at RAISE",
            "    line 2: no (P0001). Go home.",
        ],
    ),
}


@pytest.mark.parametrize(("seventh", "expected"), SEVENTH.values(), ids=SEVENTH)
def test_error_in_the_seventh_of_twelve(
    seventh: str, expected: list[str], make_database: MakeDatabase, tmp_path: Path, portaldb: Portaldb
) -> None:
    """Six stay applied, the seventh leaves nothing; the message shows file, line and the server's caret."""
    url = make_database()
    series(tmp_path, twelve(seventh))
    done = portaldb("migrate", "--source", str(tmp_path), database=url)
    paragraph(done, 5)
    said = done.stderr[done.stderr.index("Error:") :].splitlines()
    assert said[0].startswith("Error: migrations/0007_t7.sql failed and left nothing behind")
    assert said[1:] == expected
    assert SECRET not in done.stderr.replace(seventh, "")
    assert ask(url, APPLIED) == [f"{number:04}_t{number}" for number in range(1, 7)]
    assert ask(url, FAILED) == ["0007_t7"]
    assert ask(url, "SELECT relname FROM pg_class WHERE relname ~ '^t7'") == []


def test_failed_migration_is_shown_and_mended(make_database: MakeDatabase, tmp_path: Path, portaldb: Portaldb) -> None:
    """Status says what the last attempt said; the mended file goes on from there."""
    url = make_database()
    series(tmp_path, twelve("SELECT 1;\nSELECT 1 / 0;"))
    paragraph(portaldb("migrate", "--source", str(tmp_path), database=url), 5)
    shown = portaldb("status", "--source", str(tmp_path), database=url, check=True).stdout
    assert "0007_t7 is failed" in shown
    assert "It said: line 2: division by zero (22012)." in shown
    series(tmp_path, twelve("CREATE TABLE public.t7 (id int);"))
    portaldb("migrate", "--source", str(tmp_path), database=url, check=True)
    assert len(ask(url, APPLIED)) == 12
    assert ask(url, FAILED) == []


REFUSED = {
    "empty": ("", 5, "holds no statement"),
    "comments alone": ("-- later\n", 5, "holds no statement"),
    "COMMIT": ("CREATE TABLE public.t7 ();\nCOMMIT;\n", 5, "line 2, controls the transaction (COMMIT)"),
    "BEGIN": ("BEGIN;\nCREATE TABLE public.t7 ();\n", 5, "line 1, controls the transaction (BEGIN)"),
    "SAVEPOINT": ("SAVEPOINT a;", 5, "controls the transaction (SAVEPOINT)"),
    "COPY from the client": ("COPY public.t1 FROM STDIN;\n1\n\\.\n", 5, "0007_t7.sql"),
    "COPY alone": ("COPY public.t1 FROM STDIN;", 5, "exchanges data with the client"),
    "psql's own commands": ("\\set x 1\nSELECT 1;\n", 5, "line 1: syntax error"),
    "COMMIT in a procedure": ("DO $$ BEGIN COMMIT; END $$;", 5, "invalid transaction termination"),
    "COMMIT before newer SQL": ("CREATE TABLE public.t7 (); COMMIT; SELECT 1 FROM GRAPH_TABLE (g);", 5, "t7.sql"),
    "two outside a transaction": (
        "-- transactional: false\nCREATE INDEX CONCURRENTLY i ON public.t1 (id);\nVACUUM public.t1;\n",
        4,
        "must hold exactly one statement",
    ),
    "another kind outside a transaction": ("-- transactional: false\nCREATE TABLE public.t7 ();", 4, "exactly one"),
    "REINDEX outside a transaction": (
        "-- transactional: false\nREINDEX INDEX CONCURRENTLY public.t1_pkey;",
        4,
        "must hold exactly one statement that can be finished after a crash",
    ),
    "an index without a name": (
        "-- transactional: false\nCREATE INDEX CONCURRENTLY ON public.t1 (id);",
        4,
        "must hold exactly one statement",
    ),
    "IF NOT EXISTS": (
        "-- transactional: false\nCREATE INDEX CONCURRENTLY IF NOT EXISTS i ON public.t1 (id);",
        4,
        "must hold exactly one statement",
    ),
    "a syntax error outside a transaction": ("-- transactional: false\nCREATE INDEX CONCURENTLY", 5, "line 2"),
}


@pytest.mark.parametrize(("seventh", "code", "expected"), REFUSED.values(), ids=REFUSED)
def test_file_that_must_not_run_is_refused(
    seventh: str, code: int, expected: str, make_database: MakeDatabase, tmp_path: Path, portaldb: Portaldb
) -> None:
    """What would break the promise of one transaction, or do nothing, is refused by name."""
    url = make_database()
    series(tmp_path, twelve(seventh))
    said = paragraph(portaldb("migrate", "--source", str(tmp_path), database=url), code)
    assert "migrations/0007_t7.sql" in said
    assert expected in said
    assert ask(url, APPLIED) == [f"{number:04}_t{number}" for number in range(1, 7)]
    assert ask(url, "SELECT relname FROM pg_class WHERE relname IN ('t7', 'i')") == []


@pytest.mark.parametrize("data", ["SELECT 'é';".encode("latin-1"), b"SELECT 1;\0"])
def test_file_that_is_no_text_is_refused_before_anything(
    data: bytes, make_database: MakeDatabase, tmp_path: Path, portaldb: Portaldb
) -> None:
    """All files are read before the first is run."""
    url = make_database()
    series(tmp_path, twelve(""))
    (tmp_path / "migrations/0007_t7.sql").write_bytes(data)
    said = paragraph(portaldb("migrate", "--source", str(tmp_path), database=url), 4)
    assert "migrations/0007_t7.sql, line 1, is not UTF-8 text" in said
    assert not one(url, "SELECT to_regclass('public.t1') IS NOT NULL")


def test_unknown_target_is_refused(make_database: MakeDatabase, tmp_path: Path, portaldb: Portaldb) -> None:
    """The range is named; numbers and ids are taken alike."""
    url = make_database()
    series(tmp_path, twelve("SELECT 1;"))
    for target in ("13", "0", "t7", "0007_t", ""):
        said = paragraph(portaldb("migrate", "--to", target, "--source", str(tmp_path), database=url), 2)
        assert "they run from 0001_t1 to 0012_t12" in said
    for target, count in (("0002_t2", 2), ("0005", 5), ("7", 7)):
        portaldb("migrate", "--to", target, "--source", str(tmp_path), database=url, check=True)
        assert len(ask(url, APPLIED)) == count


# What happens meanwhile ------------------------------------------------------------------------------------------

SLOW = "CREATE TABLE public.t7 ();\nSELECT pg_sleep(60);\n"
# In this database alone: the statement of a client that another test killed may sleep on.
SLEEPING = "FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"


def test_ctrl_c_ends_the_statement_at_once(make_database: MakeDatabase, tmp_path: Path, portaldb: Portaldb) -> None:
    """The server stops working too, and what was unfinished is as if it had not begun."""
    url = make_database()
    series(tmp_path, twelve(SLOW))
    with command("migrate", "--source", str(tmp_path), database=url) as process:
        until(lambda: one(url, f"SELECT count(*) {SLEEPING}"), "the statement")
        process.send_signal(signal.SIGINT)
        said = paragraph(finish(process), 130)
    assert said.startswith("Interrupted.")
    until(no_session(url, "portaldb migrate"), "the server to stop")
    assert len(ask(url, APPLIED)) == 6
    assert not one(url, "SELECT to_regclass('public.t7') IS NOT NULL")


@pytest.mark.parametrize("how", ["pg_terminate_backend", "pg_cancel_backend"])
def test_ended_by_the_dba_is_said(how: str, make_database: MakeDatabase, tmp_path: Path, portaldb: Portaldb) -> None:
    """A session that was ended is a lost connection; a statement that was cancelled, a failed migration."""
    url = make_database()
    series(tmp_path, twelve(SLOW))
    with command("migrate", "--source", str(tmp_path), database=url) as process:
        until(lambda: one(url, f"SELECT count(*) {SLEEPING}"), "the statement")
        ask(url, f"SELECT {how}(pid) {SLEEPING}")
        done = finish(process)
    if how == "pg_terminate_backend":
        said = paragraph(done, 3)
        assert "The connection was lost while running migrations/0007_t7.sql" in said
        assert "portaldb status" in said
    else:
        said = paragraph(done, 5)
        assert "2 | SELECT pg_sleep(60);" in said
        assert "canceling statement due to user request" in said
    assert len(ask(url, APPLIED)) == 6
    series(tmp_path, twelve("CREATE TABLE public.t7 ();"))
    portaldb("migrate", "--source", str(tmp_path), database=url, check=True)


# A full disk -----------------------------------------------------------------------------------------------------

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="to fill a disk, a small one has to be mounted: needs root")


@pytest.fixture
def small_disk() -> Iterator[Callable[[str], Path]]:
    """Mount a disk of a given size; mounted again, it grows."""
    folder = Path(tempfile.mkdtemp(prefix="disk-"))
    mounted = False

    def mount(size: str) -> Path:
        nonlocal mounted
        options = f"{'remount,' if mounted else ''}size={size},mode=0755"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
        mounted = True
        return folder

    yield mount
    subprocess.run(["umount", "--lazy", folder], check=True)
    folder.rmdir()


FAT = (
    "CREATE TABLE public.t7 (fill text);\n"
    "INSERT INTO public.t7 SELECT repeat(md5(n::text), 50) FROM generate_series(1, 30000) AS n;\n"
)


@needs_root
def test_full_disk_of_the_tables_is_said(
    cluster: Cluster,
    make_database: MakeDatabase,
    small_disk: Callable[[str], Path],
    tmp_path: Path,
    portaldb: Portaldb,
) -> None:
    """The file, the line, and that space is wanted; with space the same command goes on."""
    disk = small_disk("24m")
    os.chown(disk, cluster.uid, -1)
    url = make_database()
    name = conninfo.conninfo_to_dict(url)["dbname"]
    space = f"space_{secrets.token_hex(4)}"
    server = cluster.url("postgres")
    ask(server, f"CREATE TABLESPACE {space} LOCATION '{disk}'")
    try:
        ask(server, f"ALTER DATABASE {name} SET TABLESPACE {space}")
        series(tmp_path, twelve(FAT))
        said = paragraph(portaldb("migrate", "--source", str(tmp_path), database=url), 5)
        assert "migrations/0007_t7.sql failed and left nothing behind" in said
        assert "The server's disk is full: free space" in said
        assert "No space left on device (53100)" in said
        assert len(ask(url, APPLIED)) == 6
        small_disk("200m")
        portaldb("migrate", "--source", str(tmp_path), database=url, check=True)
        assert one(url, "SELECT count(*) FROM public.t7") == 30000
    finally:
        ask(server, f"ALTER DATABASE {name} SET TABLESPACE pg_default")
        ask(server, f"DROP TABLESPACE {space}")


@needs_root
def test_full_disk_of_the_whole_server_loses_nothing(
    small_disk: Callable[[str], Path], tmp_path: Path, portaldb: Portaldb
) -> None:
    """Without room for its log the server itself goes down; what was committed is there when it is up again."""
    disk = small_disk("110m")
    disk.chmod(0o755)
    server = Cluster.create(disk / "pg", _owner_for(tmp_path), throwaway=True).start()
    try:
        url = server.url("mcp_portal")
        portaldb("init", database=url, check=True)
        series(tmp_path, twelve(FAT.replace("30000", "80000")))
        done = portaldb("migrate", "--source", str(tmp_path), database=url)
        # Which of its files had no room decides whether a statement fails or the server.
        assert done.returncode in (3, 5)
        assert "migrations/0007_t7.sql" in paragraph(done, done.returncode)
        server.stop(fast=False)
        small_disk("400m")
        server.start()
        assert len(ask(url, APPLIED)) == 6
        portaldb("migrate", "--source", str(tmp_path), database=url, check=True)
        portaldb("status", "--check", "--source", str(tmp_path), database=url, check=True)
    finally:
        server.destroy()


# Passwords -------------------------------------------------------------------------------------------------------


def test_password_is_nowhere_to_be_seen(
    cluster: Cluster, make_database: MakeDatabase, login: Login, tmp_path: Path, portaldb: Portaldb
) -> None:
    """Not in any output, good or bad, not on a command line of ours or the server's, not in the server's log."""
    url = login(make_database(), "mcp_admin")
    password = str(conninfo.conninfo_to_dict(url)["password"])
    series(tmp_path, twelve("SELEC;"), {"0001_t1": "DROP TABLE public.t1;"})
    source = ("--source", str(tmp_path))
    outputs = [
        portaldb(*words, database=url)
        for words in (
            ["migrate", *source],
            ["status", *source],
            ["status", "--json", *source],
            ["plan", *source],
            ["rollback", "--to", "0", "--yes", *source],
            ["init"],
            ["migrate", "--to", "nowhere", *source],
        )
    ]
    outputs += [
        portaldb("status", database=conninfo.make_conninfo(url, **wrong))
        for wrong in ({"port": "1"}, {"dbname": "nowhere"}, {"host": "no.such.host.invalid"}, {"sslmode": "require"})
    ]
    for each in outputs:
        assert password not in each.stdout + each.stderr, each.args

    series(tmp_path, twelve(SLOW))
    with command("migrate", *source, database=url):
        until(lambda: one(url, f"SELECT count(*) {SLEEPING}"), "the statement")
        seen = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # it ended meanwhile
                seen.append(path.read_bytes())
        assert any(str(tmp_path).encode() in line for line in seen)
        assert not any(password.encode() in line for line in seen)
    assert password.encode() not in cluster.log.read_bytes()
