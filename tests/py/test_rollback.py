"""The way back: what is lost is counted and shown before anybody says yes, and zero is where it all began."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from conftest import ROOT, Login, MakeDatabase, Portaldb, clean_environment
from psycopg import conninfo, sql
from support import ask, one, paragraph, series

from portaldb.layout import sql_root
from portaldb.loss import taken
from portaldb.source import read, split

UP = {
    "0001_people": "CREATE TABLE public.people (name text, born date);"
    "INSERT INTO public.people SELECT n::text, now() FROM generate_series(1, 3) AS n;",
    "0002_pets": "CREATE TABLE public.pets (name text); INSERT INTO public.pets VALUES ('Rex');",
    "0003_pets_name": "-- transactional: false\nCREATE INDEX CONCURRENTLY idx_pets_name ON public.pets (name);",
    "0004_view": "CREATE VIEW public.v AS SELECT 1 AS one;",
}
DOWN = {
    "0001_people": "DROP TABLE public.people;",
    "0002_pets": "-- loses: the pets, who are not asked\nDROP TABLE public.pets;",
    "0003_pets_name": "-- transactional: false\nDROP INDEX CONCURRENTLY public.idx_pets_name;",
    "0004_view": "DROP VIEW public.v;",
}


@pytest.fixture
def source(tmp_path: Path) -> str:
    """Write a small series with its way back."""
    return str(series(tmp_path, UP, DOWN))


@pytest.fixture
def url(source: str, make_database: MakeDatabase, portaldb: Portaldb) -> str:
    """Make a database with the series applied."""
    url = make_database()
    portaldb("migrate", "--source", source, database=url, check=True)
    return url


def applied(url: str) -> list[str]:
    """Return what both records agree is applied, by number."""
    marked = ask(url, "SELECT migration_id FROM public._yoyo_migration ORDER BY 1")
    assert marked == ask(url, "SELECT migration_id FROM public._portaldb_migration WHERE state = 'applied' ORDER BY 1")
    return [name[:4] for name in marked]


ALL = ["0001", "0002", "0003", "0004"]


@pytest.mark.parametrize("answer", ["n\n", "\n", "what?\nno\n"])
def test_no_changes_nothing(answer: str, url: str, source: str, portaldb: Portaldb) -> None:
    """It shows each migration with what goes with it, latest first, asks, and takes no for an answer."""
    done = portaldb("rollback", "--to", "0", "--source", source, database=url, stdin=answer, check=True)
    shown = [line for line in done.stderr.splitlines() if line.startswith("000")]
    assert [" ".join(line.split()) for line in shown] == [
        "0004_view no data",
        "0003_pets_name no data",
        "0002_pets the pets, who are not asked; table public.pets with 1 row",
        "0001_people table public.people with 3 rows",
    ]
    assert "Undo 4 migrations?" in done.stderr
    assert "Nothing was undone." in done.stdout
    assert applied(url) == ALL


def test_yes_undoes(url: str, source: str, portaldb: Portaldb) -> None:
    """Yes, typed or given as --yes, undoes latest first and reports each."""
    done = portaldb("rollback", "--steps", "2", "--source", source, database=url, stdin="y\n", check=True)
    assert [line.split()[2] for line in done.stderr.splitlines() if line.startswith("[")] == [
        "migrations/0004_view.sql",
        "migrations/0003_pets_name.sql",
    ]
    assert applied(url) == ["0001", "0002"]
    assert not one(url, "SELECT to_regclass('public.idx_pets_name') IS NOT NULL")
    portaldb("rollback", "--steps", "1", "--yes", "--source", source, database=url, check=True)
    assert applied(url) == ["0001"]


def test_nobody_to_answer_is_said(url: str, source: str, portaldb: Portaldb) -> None:
    """A script without --yes is told of it, and nothing is undone."""
    said = paragraph(portaldb("rollback", "--to", "0", "--source", source, database=url), 4)
    assert "In a script, add --yes" in said
    assert applied(url) == ALL


def test_ctrl_c_at_the_question_undoes_nothing(url: str, source: str) -> None:
    """At a terminal, Ctrl-C is a no."""
    terminal, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "portaldb", "rollback", "--to", "0", "--source", source],
        env=clean_environment() | {"DATABASE_URL": url, "TERM": "dumb"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=ROOT,
        start_new_session=True,
        preexec_fn=_take_terminal,  # noqa: PLW1509 - no threads here
    )
    os.close(theirs)
    seen = b""
    while b"[y/N]" not in seen:
        seen += os.read(terminal, 4096)
    for _ in range(60):
        os.write(terminal, b"\x03")
        # Python's readline may miss one that comes just before it waits for a key.
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
            break
    assert process.returncode == 130
    os.close(terminal)
    assert applied(url) == ALL


def _take_terminal() -> None:
    """Make the pseudo-terminal the process's own, so that its Ctrl-C reaches it."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        (["--steps", "1"], ALL[:3]),
        (["--steps", "99"], []),
        (["--to", "0"], []),
        (["--to", "0000"], []),
        (["--to", "2"], ALL[:2]),
        (["--to", "0002"], ALL[:2]),
        (["--to", "0002_pets"], ALL[:2]),
        (["--to", "4"], ALL),
    ],
)
def test_how_far(options: list[str], left: list[str], url: str, source: str, portaldb: Portaldb) -> None:
    """By number, id, or steps; up to the target is nothing to do."""
    done = portaldb("rollback", *options, "--yes", "--source", source, database=url, check=True)
    assert applied(url) == left
    assert ("Nothing to undo." in done.stdout) == (left == ALL)
    portaldb("migrate", "--source", source, database=url, check=True)
    assert applied(url) == ALL


@pytest.mark.parametrize(
    "options", [[], ["--to", ""], ["--to", "5"], ["--to", "pets"], ["--to", "1", "--steps", "1"], ["--steps", "0"]]
)
def test_unknown_how_far_undoes_nothing(options: list[str], url: str, source: str, portaldb: Portaldb) -> None:
    """What names no migration (an empty variable of a script, say) is refused, and not taken for zero."""
    done = portaldb("rollback", *options, "--yes", "--source", source, database=url)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert applied(url) == ALL


@pytest.mark.parametrize(
    ("header", "reason"), [("-- irreversible: they ran away\n", "they ran away"), ("", "0002_pets.rollback.sql")]
)
def test_what_cannot_be_undone_is_refused_before_anything(
    header: str, reason: str, make_database: MakeDatabase, tmp_path: Path, portaldb: Portaldb
) -> None:
    """One that cannot be undone stops those that could, and is named with its reason."""
    down = {name: text for name, text in DOWN.items() if name != "0002_pets"}
    source = str(series(tmp_path, UP | {"0002_pets": header + UP["0002_pets"]}, down))
    url = make_database()
    portaldb("migrate", "--source", source, database=url, check=True)
    said = paragraph(portaldb("rollback", "--to", "0", "--yes", "--source", source, database=url), 4)
    assert "migrations/0002_pets.sql" in said
    assert reason in said
    assert applied(url) == ALL
    portaldb("rollback", "--to", "2", "--yes", "--source", source, database=url, check=True)
    assert applied(url) == ALL[:2]


def test_failed_rollback_leaves_its_migration_applied(
    url: str, tmp_path: Path, source: str, portaldb: Portaldb
) -> None:
    """Those undone before it stay undone; its own is as it was, and the message names the place."""
    series(tmp_path, {}, {"0002_pets": "DROP TABLE public.pets;\nDROP TABLE public.cats;"})
    said = paragraph(portaldb("rollback", "--to", "0", "--yes", "--source", source, database=url), 5)
    assert "migrations/0002_pets.rollback.sql failed" in said
    assert 'line 2: table "cats" does not exist (42P01)' in said
    assert applied(url) == ALL[:2]
    assert one(url, "SELECT count(*) FROM public.pets") == 1
    portaldb("status", "--source", source, database=url, check=True)


def test_refused_rollback_outside_a_transaction_leaves_its_migration_applied(
    url: str, source: str, portaldb: Portaldb
) -> None:
    """An index that cannot be dropped was not dropped: no half-undone state stays for the next migrate to trip over."""
    portaldb("rollback", "--to", "3", "--yes", "--source", source, database=url, check=True)
    ask(url, "ALTER TABLE public.pets ADD CONSTRAINT pets_unique UNIQUE (name)")
    ask(url, "DROP INDEX public.idx_pets_name; ALTER INDEX public.pets_unique RENAME TO idx_pets_name")
    said = paragraph(portaldb("rollback", "--to", "0", "--yes", "--source", source, database=url), 5)
    assert "cannot drop index" in said
    assert applied(url) == ALL[:3]
    portaldb("migrate", "--source", source, database=url, check=True)
    assert applied(url) == ALL


def test_locked_table_is_shown_uncounted(url: str, source: str, portaldb: Portaldb) -> None:
    """Counting waits for nobody longer than for a moment."""
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE public.people")
        done = portaldb("rollback", "--to", "0", "--source", source, database=url, stdin="n\n", check=True)
    assert "table public.people (locked just now, so its rows were not counted)" in " ".join(done.stderr.split())


def test_many_rows_are_estimated(url: str, source: str, portaldb: Portaldb) -> None:
    """A large table is not read to its end to show how large it is."""
    ask(url, "INSERT INTO public.pets SELECT 'x' FROM generate_series(1, 25000)")
    ask(url, "ANALYZE public.pets")
    done = portaldb("rollback", "--to", "1", "--source", source, database=url, stdin="n\n", check=True)
    assert "table public.pets with over 10,000 rows (about 25,001)" in " ".join(done.stderr.split())


def test_member_of_the_owner_sees_every_row_under_forced_rls(
    url: str, source: str, portaldb: Portaldb, login: Login
) -> None:
    """Counts are the owner's, though the login itself would see none."""
    ask(url, "ALTER TABLE public.people ENABLE ROW LEVEL SECURITY")
    member = login(url, "mcp_admin", "NOINHERIT")
    name = conninfo.conninfo_to_dict(member)["user"]
    with psycopg.connect(url) as connection:
        connection.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(
                sql.Identifier(connection.info.dbname), sql.Identifier(str(name))
            )
        )
    done = portaldb("rollback", "--to", "0", "--source", source, database=member, stdin="n\n", check=True)
    assert "table public.people with 3 rows" in " ".join(done.stderr.split())


TAKEN = {
    "DROP TABLE a, s.b": [("{}", ("public", "a")), ("{}", ("s", "b"))],
    'DROP TABLE "A;b"': [("{}", ("public", "A;b"))],
    "TRUNCATE s.a": [("every row of {}", ("s", "a"))],
    "DELETE FROM a": [("every row of {}", ("public", "a"))],
    "DELETE FROM s.a WHERE x": [("some rows of {}", ("s", "a"))],
    "UPDATE a SET b = 1": [("values that it overwrites in {}", ("public", "a"))],
    'ALTER TABLE s.a DROP COLUMN "{b}", ADD COLUMN c int': [("column {{b}} of {}", ("s", "a"))],
    "DROP VIEW a": [],
    "DROP INDEX a": [],
    "DROP FUNCTION a()": [],
    "ALTER TABLE a DROP CONSTRAINT b": [],
}


@pytest.mark.parametrize(("text", "expected"), TAKEN.items())
def test_taken_reads_the_statement(text: str, expected: list[tuple[str, tuple[str, str]]]) -> None:
    """Tables, rows and columns that a statement takes away are read from its tree."""
    (statement,) = split(text)
    assert taken(statement) == expected


def test_every_rollback_of_the_series_says_what_it_loses() -> None:
    """No rollback of ours takes data away without a word in its header."""
    silent = [
        migration.name
        for migration in read(sql_root())
        if migration.irreversible is None
        and "loses" not in migration.rollback().directives
        and any(taken(each) or each.kind == "DoStmt" for each in migration.rollback().statements)
    ]
    assert silent == []


def test_up_to_zero_and_up_again_is_the_same(
    make_database: MakeDatabase, portaldb: Portaldb, pg_dump: Callable[..., str]
) -> None:
    """The real series: applied, undone to zero and applied again, it gives the same dump to the letter."""
    url = make_database(migrate=True)
    before = pg_dump(url, "--schema-only")
    portaldb("rollback", "--to", "0", "--yes", database=url, check=True)
    bare = pg_dump(url, "--schema-only")
    portaldb("migrate", database=url, check=True)
    assert pg_dump(url, "--schema-only") == before
    portaldb("rollback", "--to", "0", "--yes", database=url, check=True)
    assert pg_dump(url, "--schema-only") == bare
    left = [line for line in bare.splitlines() if re.match(r"CREATE (?!EXTENSION)", line)]
    assert [line for line in left if not re.search(r"_?(yoyo|portaldb)_", line)] == []
