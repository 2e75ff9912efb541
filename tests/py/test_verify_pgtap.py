"""pgTAP as part of `portaldb verify`: through pg_prove, on the throwaway database, and never silently left out."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from conftest import ROOT, Login, MakeDatabase, Portaldb
from psycopg import conninfo
from support import ask, command, one, paragraph, until

from portaldb.verify import access, pgtap
from portaldb.verify.outcome import TestFile

Run = Callable[[str], TestFile]


@pytest.fixture
def run(make_database: MakeDatabase, tmp_path: Path) -> Iterator[Run]:
    """Run a file of three planned assertions with the given body."""
    url = make_database()

    def written(body: str) -> TestFile:
        file = tmp_path / "a file.sql"
        begin = ROOT / "tests/sql/begin.psql"
        file.write_text(f"\\ir '{begin}'\nSELECT plan(3);\n{body}\nSELECT * FROM finish();\nROLLBACK;\n")
        (found,) = pgtap.run(url, pgtap.files_below(tmp_path))
        return found

    yield written
    assert not ask(url, "SELECT FROM pg_extension WHERE extname = 'pgtap'"), "a test left something behind"


OK = "SELECT ok(true, 'fine');"


@pytest.mark.parametrize(
    ("body", "assertions", "failed"),
    [
        (OK * 3, 3, ()),
        (f"{OK} SELECT ok(false, 'a user reads their own'); {OK}", 3, ("a user reads their own",)),
        (f"{OK} SELECT ok(false); {OK}", 3, ("assertion 2",)),
        (f"{OK} SELECT 1 / 0;", 1, ("3 assertions planned, 1 ran; division by zero",)),
        (f"{OK * 3} SELECT nonsense;", 3, ('3 assertions planned, 3 ran; column "nonsense" does not exist',)),
        (OK, 1, ("3 assertions planned, 1 ran",)),
        (OK * 4, 4, ("3 assertions planned, 4 ran",)),
        (f"SELECT * FROM todo('later', 1); SELECT ok(false, 'x'); {OK * 2}", 3, ()),
        ("SELECT * FROM skip('no such thing here', 3);", 3, ()),
    ],
    ids=["good", "failed", "nameless", "error", "error at the end", "too few", "too many", "todo", "skip"],
)
def test_pgtap_file_is_read(run: Run, body: str, assertions: int, failed: tuple[str, ...]) -> None:
    """What pg_prove says of a file becomes its assertions and what failed, in words."""
    assert run(body) == TestFile("a file.sql", assertions, failed)


def test_pgtap_file_that_skips_itself_says_why(run: Run) -> None:
    """It is told as not run, with its reason."""
    assert run("\\echo 1..0 # SKIP not on a Sunday\n\\quit").failed, "a plan was made before"
    found = pgtap.read("a.sql .. skipped: not on a Sunday\nAll tests successful.\n", ["a.sql"])
    assert found == [TestFile("a.sql", 0, (), "not on a Sunday")]


def test_pgtap_file_that_pg_prove_did_not_reach_is_a_failure() -> None:
    """So is one whose verdict is missing."""
    assert not any(file.ok for file in pgtap.read("a.sql .. \n1..1\nok 1\n", ["a.sql", "b.sql"]))


@pytest.fixture
def tests_of_one(tmp_path: Path) -> Path:
    """Make an access file of ours whose tests are one file that fails, and return it."""
    (tmp_path / "tests").mkdir()
    text = f"\\ir '{ROOT}/tests/sql/begin.psql'\nSELECT plan(1);\nSELECT ok(false, 'pigs fly');\nROLLBACK;\n"
    (tmp_path / "tests" / "pigs.sql").write_text(text)
    settings = '[settings]\ntests = "tests"\n'
    file = tmp_path / "access.toml"
    file.write_text(access.DEFAULT.read_text(encoding="utf-8").replace("[settings]\n", settings, 1))
    return file


def test_verify_runs_the_tests_that_the_access_file_names(
    server: str, portaldb: Portaldb, login: Login, tests_of_one: Path
) -> None:
    """A failed assertion fails the command; a password reaches pg_prove, and no command line."""
    url = login(server, options="SUPERUSER")
    done = portaldb("verify", "--access", str(tests_of_one), database=url)
    paragraph(done, 1)
    assert "✗ pgTAP pigs.sql: pigs fly" in done.stdout
    assert "✗ pgTAP    1 assertion in 1 file; 1 failed" in done.stdout
    argv, environment = pgtap.command(url, [Path("a.sql")])
    password = str(conninfo.conninfo_to_dict(url)["password"])
    assert password not in " ".join(argv)
    assert environment["PGPASSWORD"] == password


def test_verify_without_pgtap_says_so(server: str, portaldb: Portaldb, tests_of_one: Path) -> None:
    """Left out on request, which the report tells in words and JSON as null."""
    done = portaldb("verify", "--without-pgtap", "--access", str(tests_of_one), database=server, check=True)
    assert "not run: pgTAP (left out by --without-pgtap)" in done.stdout


def test_verify_live_runs_no_pgtap(make_database: MakeDatabase, portaldb: Portaldb, tests_of_one: Path) -> None:
    """The tests make and lock what they like; a running database is not theirs."""
    url = make_database(migrate=True)
    done = portaldb("verify", "--live", "--json", "--access", str(tests_of_one), database=url, check=True)
    assert json.loads(done.stdout)["pgtap"] is None


@pytest.mark.parametrize(
    ("hidden", "package"),
    [("pg_prove", "libtap-parser-sourcehandler-pgtap-perl"), ("psql", "postgresql-client")],
)
def test_verify_names_the_package_that_is_missing(
    server: str, portaldb: Portaldb, tmp_path: Path, hidden: str, package: str
) -> None:
    """No pg_prove is a failure that says what to install, before a database is made."""
    for program in {"pg_prove", "psql"} - {hidden}:
        (tmp_path / program).symlink_to(shutil.which(program) or "")
    done = portaldb("verify", database=server, env={"PATH": str(tmp_path)})
    said = paragraph(done, 7)
    assert f"{hidden} is not installed" in said
    assert package in said and "--without-pgtap" in said


def test_verify_names_the_extension_that_the_server_lacks(server: str, portaldb: Portaldb) -> None:
    """A server without pgTAP is told which package to install there."""
    ask(server, "CREATE SCHEMA no_pgtap")
    try:
        ask(
            server,
            "CREATE VIEW no_pgtap.pg_available_extensions AS SELECT extname AS name FROM pg_extension WHERE false",
        )
        url = conninfo.make_conninfo(server, options="-c search_path=no_pgtap,pg_catalog")
        done = portaldb("verify", database=url)
    finally:
        ask(server, "DROP SCHEMA no_pgtap CASCADE")
    major = one(server, "SELECT current_setting('server_version_num')::int / 10000")
    assert f"apt-get install postgresql-{major}-pgtap" in paragraph(done, 7)


def test_verify_interrupted_in_pgtap_leaves_no_session(server: str, tests_of_one: Path) -> None:
    """Ctrl-C ends pg_prove and its psql too, and the database is dropped."""
    (tests_of_one.parent / "tests" / "pigs.sql").write_text("SELECT pg_sleep(60);\n")
    sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(60)%%'"
    with command("verify", "--access", str(tests_of_one), database=server) as process:
        # The whole matrix comes before it.
        until(lambda: one(server, sleeping), "the test to be under way", patience=120)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    until(lambda: not one(server, sleeping), "its session to end")
    with psycopg.connect(server) as connection:
        assert not connection.execute("SELECT FROM pg_database WHERE datname LIKE 'portaldb_verify%'").fetchall()


def test_verify_refuses_a_folder_without_tests(server: str, portaldb: Portaldb, tests_of_one: Path) -> None:
    """An empty folder is no success."""
    (tests_of_one.parent / "tests" / "pigs.sql").unlink()
    done = portaldb("verify", "--access", str(tests_of_one), database=server)
    assert "There are no pgTAP tests in" in paragraph(done, 2)
