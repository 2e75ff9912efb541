"""The catalog lints: each finds the fault that its page plants, and is silent once the page's fix has run."""

import re
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from conftest import ROOT, MakeDatabase, Portaldb, copy_database, drop_database
from psycopg import conninfo
from support import ask, paragraph

from portaldb import database
from portaldb.errors import UsageError
from portaldb.verify import access, lints, run
from portaldb.verify.access import AcceptedLint
from portaldb.verify.outcome import LintFinding
from scripts import reference

PAGES = ROOT / "docs/verify-lints"
RULES = {lint.stem: lint for lint in lints.all_lints()}
NUMBERS = {stem[:4] for stem in RULES}
SECTIONS = ["The fault", "Why it matters", "The fix", "What it does not see", "Source"]

Lint = Callable[..., list[LintFinding]]


def page(stem: str) -> str:
    """Return a lint's page."""
    return (PAGES / f"{stem}.md").read_text(encoding="utf-8")


def statements(text: str) -> list[str]:
    """Return the blocks of SQL in a page."""
    return re.findall(r"^```sql\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


(STAGE,) = statements((PAGES / "README.md").read_text(encoding="utf-8"))
"""The table that the examples of the pages begin with."""


@pytest.fixture(scope="module")
def lint(server: str, templates: Callable[[str], str]) -> Iterator[Lint]:
    """Run statements, then the lints; undo all of it, and return what is not accepted, of one stem or of all."""
    name = "test_verify_lints"
    drop_database(server, name)
    copy_database(server, templates("migrate"), name)
    meant = access.read()

    def linted(*planted: str, stem: str = "", meant: access.Access = meant) -> list[LintFinding]:
        with database.connect(conninfo.make_conninfo(server, dbname=name)) as connection, run.inside(connection):
            for statement in planted:
                connection.execute(statement.encode())
            return [each for each in lints.run(connection, meant, only=stem) if not each.ok]

    yield linted
    drop_database(server, name)


def test_lints_are_silent_on_what_the_migrations_make(lint: Lint) -> None:
    """Whatever they find is accepted with a reason, and each reason still excuses something."""
    assert not [f"{each.lint.stem}: {each.object}: {each.detail}" for each in lint()]


def test_lints_are_silent_on_the_table_of_the_examples(lint: Lint) -> None:
    """Each page shows one fault, and not that of the table that it begins with."""
    assert not [f"{each.lint.stem}: {each.object}: {each.detail}" for each in lint(STAGE)]


@pytest.mark.parametrize("stem", RULES)
def test_lint_finds_what_its_page_plants(lint: Lint, stem: str) -> None:
    """The example of the page is found, in the page's words, and the page's fix mends it."""
    fault, fix = statements(page(stem))
    said = re.findall(r"^found: `(.+)`: (.+)$", page(stem), re.MULTILINE)
    assert [(each.object, each.detail) for each in lint(STAGE, fault, stem=stem)] == said
    assert not lint(STAGE, fault, fix, stem=stem)


@pytest.mark.parametrize("stem", RULES)
def test_lint_page_says_what_the_lint_says(stem: str) -> None:
    """Fault, level and fix stand in the page as in the SQL file, and each section is there."""
    text = page(stem)
    words = " ".join(text.split())
    assert text.startswith(f"# {stem}: {RULES[stem].level}\n")
    assert " ".join(RULES[stem].fault.split()) in words
    assert " ".join(RULES[stem].fix.split()) in words
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
    assert not [
        number for number in re.findall(r"\b0(?!000)\d{3}\b", text.split("## Source")[0]) if number not in NUMBERS
    ]


def test_each_stem_has_its_query_its_page_and_its_line_in_the_index() -> None:
    """One thing, one stem: numbers run without a gap, and no page is left over."""
    assert [int(stem[:4]) for stem in RULES] == list(range(1, len(RULES) + 1))
    assert {path.stem for path in PAGES.glob("[0-9]*.md")} == set(RULES)
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    assert index == reference.lints_page(index), "stale: run `python scripts/reference.py`"


def test_lint_exception_that_excuses_nothing_is_a_finding(lint: Lint) -> None:
    """A reason that has outlived its object fails, unless it is marked as optional."""
    meant = access.read()
    stale = {**meant.lints, "0007_unlogged_table": {"public.gone": AcceptedLint("it was once")}}
    (finding,) = lint(meant=replace(meant, lints=stale))
    assert (finding.lint.stem, finding.object) == ("0007_unlogged_table", "public.gone")
    assert "no longer found" in finding.detail
    optional = {**meant.lints, "0007_unlogged_table": {"public.gone": AcceptedLint("perhaps", optional=True)}}
    assert not lint(meant=replace(meant, lints=optional))


def test_lint_exception_for_no_lint_is_refused(lint: Lint) -> None:
    """A stem that is misspelt in the access file is named."""
    meant = access.read()
    with pytest.raises(UsageError, match="0099_nothing"):
        lint(meant=replace(meant, lints={"0099_nothing": {"public.users": AcceptedLint("why")}}))


def test_lint_exceptions_have_reasons() -> None:
    """Each exception of ours says why in a sentence."""
    for stem, objects in tomllib.loads(access.DEFAULT.read_text(encoding="utf-8"))["lints"].items():
        assert stem in RULES
        for name, reason in objects.items():
            assert len(reason if isinstance(reason, str) else reason["reason"]) > 30, name


def test_lints_wait_for_nobody(make_database: MakeDatabase) -> None:
    """Beside a migration that holds tables in ACCESS EXCLUSIVE mode they finish, and lock to read alone."""
    url = make_database(migrate=True)
    with psycopg.connect(url) as migration, database.connect(url) as connection, run.inside(connection):
        migration.execute("LOCK TABLE public.users, public.user_dashboard, public.audit_logs IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        lints.run(connection, access.read())
        assert time.monotonic() - began < 5
        modes = connection.execute(
            "SELECT DISTINCT l.mode FROM pg_locks AS l WHERE l.pid = pg_backend_pid() AND l.locktype = 'relation'"
        ).fetchall()
    assert [row["mode"] for row in modes] == ["AccessShareLock"]


def test_verify_live_fails_for_a_lint_alone(make_database: MakeDatabase, portaldb: Portaldb) -> None:
    """What no cell of the matrix shows fails the command too, with object, fault, fix and page."""
    url = make_database(migrate=True)
    ask(url, "DROP INDEX public.idx_mcp_servers_created_by")
    done = portaldb("verify", "--live", database=url)
    paragraph(done, 1)
    assert "0 not as meant" in done.stdout
    told = " ".join(done.stdout.split())
    for said in (
        "0048_unindexed_foreign_key",
        "public.mcp_servers",
        "CREATE INDEX",
        "docs/verify-lints/0048_unindexed",
    ):
        assert said in told


def test_every_lint_file_is_found() -> None:
    """Nothing in the folder is left unread."""
    assert {path.stem for path in Path(lints.FOLDER).glob("*.sql")} == {*RULES, "scope"}
