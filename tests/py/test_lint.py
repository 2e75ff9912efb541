"""Every rule of our own fires on a fault and is quiet about the same file without it."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import ROOT, Portaldb

from portaldb import lint, squawk
from portaldb.errors import EnvironmentMissingError, FindingsError, UsageError
from portaldb.layout import FOLDERS
from portaldb.rules import RULES

HEADER = "-- What it is for.\n-- depends: 0001_first\n\n"
TABLE = (
    "CREATE TABLE public.things (id uuid, CONSTRAINT things_pkey PRIMARY KEY (id));\n"
    "ALTER TABLE public.things ENABLE ROW LEVEL SECURITY;\n"
    "ALTER TABLE public.things FORCE ROW LEVEL SECURITY;\n"
    "COMMENT ON TABLE public.things IS 'Things.';\n"
)
DEFINER = "CREATE FUNCTION public.f() RETURNS int LANGUAGE sql SECURITY DEFINER {} AS $$ SELECT 1 $$;\n"


@dataclass(frozen=True)
class Case:
    """A file with one fault, and the same file without it; a text alone stands under the usual header."""

    rule: str
    bad: str
    good: str
    name: str = "migrations/0002_things.sql"
    also: tuple[str, ...] = ("migrations/0002_things.rollback.sql",)
    """Files that lie beside it."""
    good_name: str = ""
    """The name of the good file, where the name is the fault."""
    line: int | None = None
    """Where the fault is told, where it matters."""


def under(text: str) -> str:
    """Put a text under the usual header."""
    return HEADER + text


NON_TRANSACTIONAL = "-- What it is for.\n-- depends: 0001_first\n-- transactional: false\n\n"
INDEX = "CREATE INDEX CONCURRENTLY idx_things_id ON public.things (id);\n"

CASES = {
    "byte order mark": Case("text-form", "\ufeff" + under(TABLE), under(TABLE), line=1),
    "carriage return": Case("text-form", under(TABLE).replace("\n", "\r\n"), under(TABLE)),
    "tab": Case("text-form", under("\tDROP VIEW public.v;\n"), under("DROP VIEW public.v;\n"), line=4),
    "no newline": Case("text-form", under("DROP VIEW public.v;"), under("DROP VIEW public.v;\n")),
    "two newlines": Case("text-form", under("DROP VIEW public.v;\n\n"), under("DROP VIEW public.v;\n")),
    "capitals": Case(
        "file-name",
        under(TABLE),
        under(TABLE),
        name="migrations/0002_Things.sql",
        good_name="migrations/0002_things.sql",
    ),
    "three digits": Case(
        "file-name",
        under(TABLE),
        under(TABLE),
        name="migrations/002_things.sql",
        good_name="migrations/0002_things.sql",
    ),
    "number twice": Case(
        "number-unique", under(TABLE), under(TABLE), name="seeds/0001_things.sql", good_name="seeds/0002_things.sql"
    ),
    "no header": Case("header-sentence", TABLE, under(TABLE)),
    "header no sentence": Case("header-sentence", "-- things\n-- depends: 0001_first\n" + TABLE, under(TABLE), line=1),
    "header a directive": Case("header-sentence", "-- depends: 0001_first\n" + TABLE, under(TABLE), line=1),
    "directive misspelt": Case(
        "directive",
        "-- A.\n-- depend: 0001_first\n" + TABLE,
        "-- A.\n-- depends: 0001_first\n-- Note: x\n" + TABLE,
        line=2,
    ),
    "directive empty": Case("directive", "-- A.\n-- depends: 0001_first\n-- no-rls:\n" + TABLE, under(TABLE), line=3),
    "directive below": Case("directive", under(TABLE + "-- transactional: false\n"), under(TABLE)),
    "transactional maybe": Case(
        "directive", "-- A.\n-- depends: 0001_first\n-- transactional: no\n" + TABLE, under(TABLE)
    ),
    "no depends": Case("depends", "-- A.\n" + TABLE, under(TABLE), line=1),
    "depends on nothing": Case("depends", "-- A.\n-- depends: 0001_frist\n" + TABLE, under(TABLE), line=2),
    "depends on itself": Case("depends", "-- A.\n-- depends: 0002_things\n" + TABLE, under(TABLE), line=2),
    "depends forwards": Case(
        "depends",
        "-- A.\n-- depends: 0003_later\n" + TABLE,
        under(TABLE),
        also=("migrations/0002_things.rollback.sql", "policies/0003_later.sql"),
    ),
    "no way back": Case(
        "rollback", under(TABLE), "-- A.\n-- depends: 0001_first\n-- irreversible: x\n" + TABLE, also=()
    ),
    "way back and none": Case("rollback", "-- A.\n-- depends: 0001_first\n-- irreversible: x\n" + TABLE, under(TABLE)),
    "way back of nothing": Case(
        "rollback",
        "-- A.\n\nDROP VIEW public.v;\n",
        "-- A.\n\nDROP VIEW public.v;\n",
        name="migrations/0009_gone.rollback.sql",
        good_name="migrations/0001_first.rollback.sql",
        also=(),
    ),
    "loses a table": Case(
        "loses",
        "-- A.\n\nDROP TABLE public.first;\n",
        "-- A.\n-- loses: everything\n\nDROP TABLE public.first;\n",
        name="migrations/0001_first.rollback.sql",
        line=3,
    ),
    "loses a column": Case(
        "loses",
        "-- A.\n\nALTER TABLE public.first DROP COLUMN a;\n",
        "-- A.\n\nALTER TABLE public.first DROP CONSTRAINT a;\n",
        name="migrations/0001_first.rollback.sql",
    ),
    "loses rows": Case(
        "loses",
        "-- A.\n\nDELETE FROM public.first WHERE a = 1;\n",
        "-- A.\n-- loses: a\n\nDELETE FROM public.first WHERE a = 1;\n",
        name="migrations/0001_first.rollback.sql",
    ),
    "syntax": Case("syntax", under("DROP VIEW public.v;\nCREATE TABEL x;\n"), under(TABLE), line=5),
    "empty": Case("syntax", HEADER, under(TABLE)),
    "meta-command": Case("psql-only", under("DROP VIEW public.v;\n\\set x 1\n"), under(TABLE), line=5),
    "copy with data": Case("psql-only", under("COPY public.t FROM STDIN;\n1\n\\.\n"), under(TABLE), line=4),
    "copy without data": Case("psql-only", under("COPY public.t TO STDOUT;\n"), under("COPY public.t FROM '/x';\n")),
    "begin": Case("transaction-control", under("BEGIN;\n" + TABLE + "COMMIT;\n"), under(TABLE), line=4),
    "savepoint": Case("transaction-control", under("SAVEPOINT a;\n"), under(TABLE)),
    "two outside": Case("non-transactional", NON_TRANSACTIONAL + INDEX + INDEX, NON_TRANSACTIONAL + INDEX, line=6),
    "table outside": Case(
        "non-transactional", NON_TRANSACTIONAL + TABLE, NON_TRANSACTIONAL + "VACUUM public.things;\n"
    ),
    "concurrently inside": Case("non-transactional", under(INDEX), under(INDEX.replace(" CONCURRENTLY", "")), line=4),
    "detach inside": Case(
        "non-transactional",
        under("ALTER TABLE public.t DETACH PARTITION public.p CONCURRENTLY;\n"),
        under("ALTER TABLE public.t DETACH PARTITION public.p;\n"),
    ),
    "drop index inside": Case(
        "non-transactional", under("DROP INDEX CONCURRENTLY public.i;\n"), under("DROP INDEX public.i;\n")
    ),
    "reindex inside": Case(
        "non-transactional", under("REINDEX TABLE CONCURRENTLY public.i;\n"), under("REINDEX TABLE public.i;\n")
    ),
    "bare select": Case(
        "bare-select", under("SELECT public.f();\n"), under("DO $$ BEGIN PERFORM public.f(); END $$;\n"), line=4
    ),
    "if not exists": Case(
        "if-exists", under(TABLE.replace("TABLE p", "TABLE IF NOT EXISTS p", 1)), under(TABLE), line=4
    ),
    "if exists": Case("if-exists", under("DROP VIEW IF EXISTS public.v;\n"), under("DROP VIEW public.v;\n")),
    "column if not exists": Case(
        "if-exists",
        under("ALTER TABLE public.t ADD COLUMN IF NOT EXISTS a int;\n"),
        under("ALTER TABLE public.t ADD COLUMN a int;\n"),
    ),
    "if exists in seeds": Case(
        "if-exists",
        under("DROP VIEW IF EXISTS public.v;\n"),
        under("DROP VIEW IF EXISTS public.v;\n"),
        name="policies/0002_things.sql",
        good_name="seeds/0002_things.sql",
        also=(),
    ),
    "primary key unnamed": Case(
        "constraint-name", under(TABLE.replace("(id uuid, CONSTRAINT", "(id uuid UNIQUE, CONSTRAINT")), under(TABLE)
    ),
    "foreign key misnamed": Case(
        "constraint-name",
        under("ALTER TABLE public.t\n  ADD CONSTRAINT x FOREIGN KEY (a) REFERENCES public.u (a);\n"),
        under("ALTER TABLE public.t\n  ADD CONSTRAINT t_a_fkey FOREIGN KEY (a) REFERENCES public.u (a);\n"),
        line=5,
    ),
    "index misnamed": Case(
        "object-name",
        under("CREATE INDEX users_email ON public.users (email);\n"),
        under("CREATE INDEX idx_users_email ON public.users (email);\n"),
    ),
    "index unnamed": Case(
        "object-name",
        under("CREATE INDEX ON public.user_sessions (id);\n"),
        under("CREATE INDEX idx_sessions_id ON public.user_sessions (id);\n"),
    ),
    "policy misnamed": Case(
        "object-name",
        under("CREATE POLICY isolation ON public.users USING (true);\n"),
        under("CREATE POLICY users_isolation ON public.users USING (true);\n"),
    ),
    "definer": Case(
        "definer-search-path",
        under(DEFINER.format("")),
        under(DEFINER.format("SET search_path = pg_catalog, pg_temp")),
        line=4,
    ),
    "definer, half a path": Case(
        "definer-search-path",
        under(DEFINER.format("SET search_path = pg_catalog")),
        under("CREATE FUNCTION public.f() RETURNS int LANGUAGE sql SECURITY DEFINER BEGIN ATOMIC SELECT 1; END;\n"),
    ),
    "definer, later": Case(
        "definer-search-path",
        under("ALTER FUNCTION public.f() SECURITY DEFINER;\n"),
        under("ALTER FUNCTION public.f() SECURITY DEFINER SET search_path = pg_catalog, pg_temp;\n"),
    ),
    "open table": Case("row-security", under(TABLE.replace("ENABLE", "DISABLE")), under(TABLE), line=4),
    "unforced table": Case(
        "row-security",
        under(TABLE.replace(" FORCE", " NO FORCE")),
        "-- A.\n-- depends: 0001_first\n-- no-rls: a catalogue\n" + TABLE.replace("ENABLE", "DISABLE"),
    ),
    "open partition": Case(
        "row-security",
        under("CREATE TABLE public.p PARTITION OF public.t DEFAULT;\n"),
        under(
            "CREATE TABLE public.p PARTITION OF public.t DEFAULT;\nALTER TABLE public.p ENABLE ROW LEVEL SECURITY;\n"
        ),
    ),
    "table as": Case(
        "row-security",
        under("CREATE TABLE public.t AS TABLE public.u;\n"),
        under("CREATE TEMP TABLE t AS TABLE public.u;\n"),
    ),
    "no comment": Case(
        "comment", under(TABLE.replace("TABLE public.things IS", "COLUMN public.things.id IS")), under(TABLE), line=4
    ),
    "comment taken away": Case("comment", under(TABLE.replace("'Things.'", "NULL")), under(TABLE)),
    "table without schema": Case(
        "schema", under("ALTER TABLE things ADD a int;\n"), under("ALTER TABLE public.things ADD a int;\n"), line=4
    ),
    "view without schema": Case(
        "schema", under("CREATE VIEW v AS SELECT 1 AS a;\n"), under("CREATE VIEW public.v AS SELECT 1 AS a;\n")
    ),
    "function without schema": Case(
        "schema",
        under("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';\n"),
        under("CREATE FUNCTION public.f() RETURNS int LANGUAGE sql AS 'SELECT 1';\n"),
    ),
    "exception unexplained": Case(
        "allow",
        under("-- lint: allow comment\n" + TABLE),
        under("-- lint: allow comment: it is a copy\n" + TABLE),
        line=4,
    ),
    "exception from nothing": Case(
        "allow", under("-- lint: allow coment: a copy\n" + TABLE), under("-- lint: allow comment: a copy\n" + TABLE)
    ),
}

Findings = Callable[[str, str, tuple[str, ...]], list[tuple[str, int]]]


@pytest.fixture
def findings(tmp_path: Path) -> Findings:
    """Write a tree with one file under judgement and return the rules that fire on it, with their lines."""

    def judge(name: str, text: str, also: tuple[str, ...]) -> list[tuple[str, int]]:
        for each in ("migrations/0001_first.sql", *also, name):
            path = tmp_path / each
            path.parent.mkdir(exist_ok=True)
            path.write_bytes((text if each == name else "-- Beside it.\n").encode())
        found = [(each.rule, each.line) for each in lint.own_findings([tmp_path / name])]
        for path in tmp_path.rglob("*.sql"):
            path.unlink()
        return found

    return judge


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_lint_rule_fires_on_its_fault_alone(case: Case, findings: Findings) -> None:
    """The bad file breaks the rule, on the line told; the good one breaks none at all."""
    bad = findings(case.name, case.bad, case.also)
    assert case.rule in [rule for rule, _ in bad]
    if case.line is not None:
        assert (case.rule, case.line) in bad
    good = findings(case.good_name or case.name, case.good, case.also)
    assert case.rule not in [rule for rule, _ in good]


def test_lint_good_file_breaks_no_rule(findings: Findings) -> None:
    """The sample that the cases are made from is clean under every rule."""
    assert findings("migrations/0002_things.sql", under(TABLE), ("migrations/0002_things.rollback.sql",)) == []


def test_lint_rules_are_all_tested_and_documented() -> None:
    """No rule is without a case here and a row in docs/lint.md, and the page names no rule that is not there."""
    page = (ROOT / "docs" / "lint.md").read_text(encoding="utf-8")
    section = page.split("## Our own rules")[1].split("###")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)) == set(RULES)
    assert {case.rule for case in CASES.values()} == set(RULES)


def test_lint_squawk_exclusions_are_all_documented() -> None:
    """Each rule of squawk's that is left out has its reason on the page."""
    section = (ROOT / "docs" / "lint.md").read_text(encoding="utf-8").split("## squawk's rules")[1]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)) == set(lint.SQUAWK_EXCLUDED)


def test_lint_exception_excuses_the_rule_alone(findings: Findings) -> None:
    """An exception with a reason silences its rule and no other."""
    text = under("-- lint: allow bare-select: a test\nSELECT f();\nBEGIN;\n")
    rules = {rule for rule, _ in findings("migrations/0002_things.sql", text, ("migrations/0002_things.rollback.sql",))}
    assert rules == {"transaction-control"}


def test_lint_file_that_is_not_text_is_told(tmp_path: Path) -> None:
    """A file that is not UTF-8 is a finding, not a crash."""
    path = tmp_path / "migrations" / "0001_first.sql"
    path.parent.mkdir()
    path.write_bytes(b"-- What it is for.\n\xff\n")
    found = lint.own_findings([path])
    assert [(each.rule, "line 2" in each.message) for each in found] == [("text-form", True)]


def test_lint_this_tree_is_clean(portaldb: Portaldb) -> None:
    """The SQL of this tree has no finding; sqlfluff's half, which is slow, is a step of scripts/test."""
    done = portaldb("lint", "--tool", "portaldb", "--tool", "squawk")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("Clean: ")


def test_lint_reports_by_line_and_for_machines(portaldb: Portaldb, tmp_path: Path) -> None:
    """Findings of all three tools come as file:line rule message, exit 1, and as JSON."""
    path = tmp_path / "migrations" / "0001_first.sql"
    path.parent.mkdir()
    path.write_text("-- What it is for.\nCREATE INDEX  bad on public.t (a);\n", encoding="utf-8")
    done = portaldb("lint", str(tmp_path), cwd=tmp_path)
    assert done.returncode == 1
    assert "migrations/0001_first.sql:2 object-name The index bad on t is not named idx_t_…\n" in done.stdout
    report = json.loads(portaldb("lint", "--json", str(tmp_path), cwd=tmp_path).stdout)
    assert report["clean"] is False
    assert {each["tool"] for each in report["findings"]} == {"portaldb", "sqlfluff", "squawk"}
    assert {each["path"] for each in report["findings"]} == {"migrations/0001_first.sql"}


def test_lint_path_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    """Neither a path that is not there nor a folder without SQL passes for clean."""
    with pytest.raises(UsageError):
        lint.run([tmp_path / "nothing.sql"])
    with pytest.raises(UsageError):
        lint.run([tmp_path])


def test_lint_of_an_installed_package_wants_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SQL inside a wheel is nobody's to mend: a path must be named."""
    monkeypatch.setattr(lint, "in_checkout", lambda: False)
    with pytest.raises(UsageError, match="Name the files"):
        lint.run()


def test_lint_missing_tool_is_told_after_our_own_rules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without squawk the other rules still run, and the end is exit code 7 with the way to install it."""
    monkeypatch.setattr(squawk, "executable", lambda: None)
    path = tmp_path / "migrations" / "0001_first.sql"
    path.parent.mkdir()
    path.write_text("SELECT 1;\n", encoding="utf-8")
    report = lint.run([path], ["portaldb", "squawk"])
    assert report.missing == ("squawk",)
    assert "bare-select" in {each.rule for each in report.findings}
    with pytest.raises(EnvironmentMissingError, match=r"squawk.*pip install") as raised:
        report.conclude()
    assert raised.value.exit_code == 7


def test_lint_findings_end_in_exit_code_one(tmp_path: Path) -> None:
    """A finding ends the command with FindingsError."""
    path = tmp_path / "seeds" / "0001_first.sql"
    path.parent.mkdir()
    path.write_text("SELECT 1;\n", encoding="utf-8")
    with pytest.raises(FindingsError):
        lint.run([path], ["portaldb"]).conclude()


def test_squawk_finds_what_blocks_traffic() -> None:
    """A text is judged as one statement of a migration would be."""
    found = squawk.findings("\nCREATE INDEX idx_t_a ON public.t (a);\n", exclude=tuple(lint.SQUAWK_EXCLUDED))
    assert [(each.rule, each.line) for each in found] == [("require-concurrent-index-creation", 2)]
    assert squawk.findings([]) == []


def test_cli_imports_nothing_heavy() -> None:
    """The module behind --help loads neither the parser nor the linters."""
    code = "import sys, cli; print(sorted({'pgparse', 'sqlfluff', 'portaldb.lint', 'psycopg'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_lint_folders_are_the_series() -> None:
    """By default the four folders and the pgTAP tests are read."""
    assert [path.name for path in lint.default_paths()][: len(FOLDERS)] == list(FOLDERS)
