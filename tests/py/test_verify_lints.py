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

from bench.redundant_indexes import Cost
from portaldb import database
from portaldb.errors import UsageError
from portaldb.verify import access, lints, run
from portaldb.verify.access import AcceptedLint
from portaldb.verify.outcome import LintFinding
from scripts import reference

PAGES = ROOT / "docs/verify-lints"
RULES = {lint.stem: lint for lint in lints.all_lints()}
NUMBERS = {stem[:4] for stem in RULES}
COSTS = "0049_duplicate_index"
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


OWN = "user_id = (SELECT public.current_app_user_id())"
MINE = "letters_own on public.letters"
DEFINER = "LANGUAGE sql SECURITY DEFINER SET search_path ="
SUPPORT = "current_setting('app.support', true) = 'on'"
ASKED = (
    "CREATE VIEW public.v AS SELECT u.id FROM public.users AS u"
    " WHERE u.id = nullif(current_setting('app.current_user_id', true), '')::uuid OR {};"
    "ALTER POLICY letters_own ON public.letters USING (user_id = (SELECT v.id FROM public.v AS v))"
)
"""A view that a policy asks."""

ALSO = [
    ("0004", "CREATE TABLE public.p (id uuid); CREATE POLICY p_p ON public.p USING (true)", "public.p"),
    ("0010", "CREATE POLICY w ON public.letters FOR INSERT TO portal_app", "w on public.letters"),
    ("0010", "CREATE POLICY w ON public.letters TO portal_app USING (1 = 1)", "w on public.letters"),
    ("0010", f"CREATE POLICY w ON public.letters FOR UPDATE TO portal_app USING ({OWN}) WITH CHECK (true)",
     "w on public.letters"),
    ("0010", "CREATE POLICY w ON public.letters FOR DELETE USING (public.current_app_user_id() IS NOT NULL)",
     "w on public.letters"),
    ("0011", "CREATE POLICY r ON public.letters FOR SELECT TO portal_app"
     " USING (EXISTS (SELECT FROM public.users AS u WHERE u.id = public.current_app_user_id()))",
     "r on public.letters"),
    ("0012", f"ALTER POLICY letters_own ON public.letters USING (({OWN} OR true) AND body <> '')",
     MINE),
    ("0012", "ALTER POLICY letters_own ON public.letters"
     f" USING ({OWN} OR (SELECT r.everyone_from FROM public.app_reach AS r) IS NOT NULL)", MINE),
    ("0016", "ALTER POLICY letters_own ON public.letters"
     " USING (user_id = nullif(current_setting('app.current_user_id', true), '')::uuid)", MINE),
    ("0018", "CREATE FUNCTION public.f() RETURNS text LANGUAGE plpgsql"
     " AS $$ BEGIN RETURN current_setting( 'app.current_user_id' ); END $$", "public.f()"),
    ("0019", "ALTER POLICY letters_own ON public.letters"
     " USING (user_id = (SELECT current_setting('app.current_user_id', true)::uuid))", MINE),
    ("0019", "CREATE FUNCTION public.f() RETURNS uuid LANGUAGE plpgsql"
     " AS $$ BEGIN RETURN CAST(current_setting('app.current_user_id', true) AS uuid); END $$", "public.f()"),
    ("0020", "CREATE FUNCTION public.f() RETURNS boolean STABLE LANGUAGE plpgsql"
     " AS $$ BEGIN RETURN current_setting('app.admin', true) = 'yes'; END $$;"
     f"ALTER POLICY letters_own ON public.letters USING ({OWN} AND (SELECT public.f()))", MINE),
    ("0018", "CREATE VIEW public.v AS SELECT current_setting('app.current_user_id') AS id", "public.v"),
    ("0019", "CREATE VIEW public.v AS SELECT current_setting('app.current_user_id', true)::uuid AS id", "public.v"),
    ("0020", ASKED.format(SUPPORT), "public.v"),
    ("0020", "CREATE FUNCTION public.f() RETURNS boolean STABLE LANGUAGE plpgsql"
     " AS $$ BEGIN RETURN current_setting('app.support', true) = 'on'; END $$;"
     + ASKED.format("public.f()"), "public.v"),
    ("0020", ASKED.format(SUPPORT) + ";"
     "CREATE VIEW public.w AS SELECT v.id FROM public.v AS v;"
     "ALTER POLICY letters_own ON public.letters USING (user_id = (SELECT w.id FROM public.w AS w))", "public.v"),
    ("0021", "CREATE POLICY r ON public.letters TO portal_app USING (session_user = body)", "r on public.letters"),
    ("0022", "CREATE POLICY r ON public.letters FOR SELECT TO portal_backup USING (true)", "r on public.letters"),
    ("0025", "CREATE VIEW public.a AS SELECT l.body FROM public.letters AS l;"
     "CREATE VIEW public.b WITH (security_invoker = false) AS SELECT a.body FROM public.a AS a;"
     "GRANT SELECT (body) ON public.b TO PUBLIC", "public.b for PUBLIC"),
    ("0027", "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;"
     "GRANT USAGE ON FOREIGN SERVER s TO PUBLIC", "server s"),
    ("0027", "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;"
     "CREATE FOREIGN TABLE public.far (a int) SERVER s; GRANT SELECT ON public.far TO portal_app", "public.far"),
    ("0028", "CREATE PUBLICATION p FOR TABLES IN SCHEMA public", "public.users"),
    ("0030", f"CREATE FUNCTION public.f() RETURNS int {DEFINER} \"$user\", pg_temp AS 'SELECT 1'", "public.f()"),
    ("0030", f"CREATE FUNCTION public.f() RETURNS int {DEFINER} '' AS 'SELECT 1'", "public.f()"),
    ("0030", "CREATE SCHEMA loose; GRANT CREATE ON SCHEMA loose TO portal_app;"
     f"CREATE FUNCTION public.f() RETURNS int {DEFINER} loose, pg_temp AS 'SELECT 1'", "public.f()"),
    ("0031", f"CREATE FUNCTION public.f() RETURNS int {DEFINER} pg_catalog, pg_temp AS 'SELECT 1';"
     "ALTER FUNCTION public.f() OWNER TO mcp_admin", "public.f()"),
    ("0038", "GRANT EXECUTE ON FUNCTION public.current_app_user_id() TO portal_app WITH GRANT OPTION",
     "public.current_app_user_id()"),
    ("0039", "CREATE SEQUENCE public.n; GRANT UPDATE ON SEQUENCE public.n TO portal_app", "public.n"),
    ("0039", "GRANT REFERENCES (id) ON public.letters TO portal_app", "public.letters"),
    ("0042", "DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO portal_app', current_database()); END $$",
     "database"),
    ("0043", "ALTER DEFAULT PRIVILEGES FOR ROLE mcp_admin GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
     "default privileges of mcp_admin"),
    ("0044", "CREATE ROLE staff IN ROLE mcp_admin; CREATE ROLE worker LOGIN IN ROLE portal_app, staff", "worker"),
    ("0044", "ALTER TABLE public.letters OWNER TO portal_app", "portal_app"),
    ("0045", "CREATE ROLE worker LOGIN SUPERUSER IN ROLE portal_app", "worker"),
    ("0045", "CREATE ROLE past BYPASSRLS; CREATE ROLE worker LOGIN IN ROLE portal_app, past", "worker"),
    ("0045", "ALTER ROLE mcp_admin CREATEROLE", "mcp_admin"),
    ("0046", "CREATE ROLE worker LOGIN IN ROLE portal_app, pg_write_all_data", "worker in pg_write_all_data"),
    ("0047", "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET row_security = off', current_database()); END $$",
     "database"),
    ("0049", "CREATE INDEX i ON public.letters (user_id) WHERE body = 'x'", "public.letters.i"),
    ("0049", "CREATE INDEX i ON public.letters (lower(body)); CREATE INDEX j ON public.letters (lower(body), id)",
     "public.letters.i"),
    ("0049", "CREATE UNIQUE INDEX i ON public.letters (id)", "public.letters.i"),
    ("0050", "ALTER TABLE public.letters DISABLE TRIGGER ALL; ALTER TABLE public.users DISABLE TRIGGER"
     " update_users_updated_at", "trigger update_users_updated_at on public.users"),
    ("0053", "CREATE ROLE worker LOGIN IN ROLE portal_app; GRANT UPDATE (role) ON public.users TO worker",
     "public.users for worker"),
    ("0053", "CREATE ROLE worker LOGIN IN ROLE portal_app;"
     "GRANT EXECUTE ON FUNCTION public.cleanup_expired_sessions() TO worker",
     "public.cleanup_expired_sessions() for worker"),
    ("0053", "CREATE ROLE past LOGIN BYPASSRLS; GRANT SELECT ON public.user_sessions TO past",
     "public.user_sessions for past"),
    ("0054", "CREATE ROLE staff IN ROLE portal_runner; CREATE ROLE worker LOGIN IN ROLE portal_app, staff", "worker"),
    ("0054", "CREATE ROLE worker LOGIN IN ROLE portal_app, mcp_admin", "worker"),
    ("0055", "CREATE ROLE worker LOGIN IN ROLE portal_app; GRANT SELECT ON pg_statistic TO worker",
     "pg_catalog.pg_statistic for worker"),
    ("0055", "GRANT SELECT (stavalues1) ON pg_statistic TO PUBLIC", "pg_catalog.pg_statistic for PUBLIC"),
    ("0055", "CREATE ROLE staff IN ROLE portal_app;"
     "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO staff", "pg_catalog.pg_read_file(text) for staff"),
    ("0055", "CREATE ROLE worker LOGIN IN ROLE portal_app;"
     "GRANT SET ON PARAMETER session_replication_role TO worker", "parameter session_replication_role for worker"),
]  # fmt: skip
"""Further forms of a fault, and the object by which each is found."""

FINE = [
    ("0001", "CREATE TABLE public.p (id uuid)"),
    ("0009", "CREATE POLICY floor ON public.letters AS RESTRICTIVE USING (body <> '')"),
    ("0010", "CREATE POLICY w ON public.letters FOR DELETE TO portal_app USING (false)"),
    ("0010", "CREATE POLICY w ON public.letters TO mcp_admin USING (true)"),
    ("0011", "CREATE POLICY r ON public.letters FOR SELECT TO portal_app"
     " USING (EXISTS (SELECT FROM public.users AS u WHERE u.id = user_id))"),
    ("0012", f"ALTER POLICY letters_own ON public.letters USING ({OWN} OR body = 'public')"),
    ("0012", f"ALTER POLICY letters_own ON public.letters USING ({OWN} OR id BETWEEN"
     " (SELECT r.everyone_from FROM public.app_reach AS r)"
     " AND 'ffffffff-ffff-ffff-ffff-ffffffffffff')"),
    ("0013", f"CREATE POLICY w ON public.letters FOR UPDATE TO portal_app USING ({OWN})"
     f" WITH CHECK ({OWN} AND body <> '')"),
    ("0016", "ALTER POLICY letters_own ON public.letters USING (user_id = (SELECT"
     " nullif(current_setting('app.current_user_id', true), '')::uuid) AND lower(body) = body)"),
    ("0019", "CREATE FUNCTION public.f() RETURNS text LANGUAGE sql"
     " AS $$ SELECT current_setting('app.current_user_id', true)::text $$"),
    ("0022", "CREATE POLICY r ON public.letters FOR ALL TO portal_app USING (body = '{}')"),
    ("0025", "CREATE VIEW public.a WITH (security_invoker = on) AS SELECT l.body FROM public.letters AS l;"
     "GRANT SELECT ON public.a TO portal_app"),
    ("0031", f"CREATE FUNCTION public.f() RETURNS int {DEFINER} pg_catalog, pg_temp AS 'SELECT 1';"
     "ALTER FUNCTION public.f() OWNER TO portal_api"),
    ("0044", "CREATE ROLE dba LOGIN IN ROLE mcp_admin"),
    ("0045", "CREATE ROLE worker LOGIN IN ROLE portal_app"),
    ("0046", "CREATE ROLE dba LOGIN IN ROLE pg_monitor"),
    ("0048", "ALTER TABLE public.letters ADD COLUMN s uuid REFERENCES public.mcp_servers (id);"
     "CREATE INDEX i ON public.letters (s) WHERE s IS NOT NULL"),
    ("0049", "CREATE INDEX i ON public.letters (body, user_id)"),
    ("0049", "CREATE INDEX i ON public.letters (user_id DESC, body)"),
    ("0049", "CREATE UNIQUE INDEX i ON public.letters (user_id, body) WHERE body <> ''"),
    ("0052", "CREATE SCHEMA extensions; CREATE EXTENSION pg_trgm SCHEMA extensions"),
    ("0018", "CREATE VIEW public.v AS SELECT current_setting('server_version') AS version"),
    ("0019", "CREATE VIEW public.v AS SELECT current_setting('server_version_num')::int AS version"),
    ("0020", ASKED.format("u.is_active")),
    ("0020", "CREATE VIEW public.v AS SELECT current_setting('app.support', true) AS asked_by_no_policy"),
    ("0053", "CREATE ROLE dba LOGIN SUPERUSER; GRANT SELECT ON public.letters TO dba"),
    ("0054", "CREATE ROLE worker LOGIN IN ROLE portal_app; CREATE ROLE dba LOGIN IN ROLE mcp_admin"),
    ("0054", "CREATE ROLE staff IN ROLE portal_app, portal_runner"),
    ("0055", "CREATE ROLE dba LOGIN IN ROLE pg_monitor; GRANT SELECT ON pg_statistic TO dba, mcp_admin"),
    ("0055", "REVOKE SELECT ON pg_catalog.pg_roles FROM PUBLIC; GRANT SELECT ON pg_catalog.pg_roles TO PUBLIC"),
]  # fmt: skip
"""What looks like a fault and is none."""


@pytest.mark.parametrize(("number", "fault", "where"), ALSO)
def test_lint_finds_other_forms_of_its_fault(lint: Lint, number: str, fault: str, where: str) -> None:
    """A lint knows more than the one form that its page shows."""
    (stem,) = (stem for stem in RULES if stem.startswith(number))
    assert where in [each.object for each in lint(STAGE, fault, stem=stem)]


@pytest.mark.parametrize(("number", "right"), FINE)
def test_lint_is_silent_on_what_is_right(lint: Lint, number: str, right: str) -> None:
    """A finding is worth a reader's time."""
    (stem,) = (stem for stem in RULES if stem.startswith(number))
    assert not lint(STAGE, right, stem=stem)


@pytest.mark.parametrize("stem", RULES)
def test_lint_page_says_what_the_lint_says(stem: str) -> None:
    """Fault, level and fix stand in the page as in the SQL file, and each section is there."""
    text = page(stem)
    words = " ".join(text.split())
    assert text.startswith(f"# {stem}: {RULES[stem].level}\n")
    assert " ".join(RULES[stem].fault.split()) in words
    assert " ".join(RULES[stem].fix.split()) in words
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert [heading for heading in headings if heading in SECTIONS] == SECTIONS
    assert not [
        number for number in re.findall(r"\b0(?!000)\d{3}\b", text.split("## Source")[0]) if number not in NUMBERS
    ]


def test_each_stem_has_its_query_its_page_and_its_line_in_the_index() -> None:
    """One thing, one stem: numbers run without a gap, and no page is left over."""
    assert [int(stem[:4]) for stem in RULES] == list(range(1, len(RULES) + 1))
    assert {path.stem for path in PAGES.glob("[0-9]*.md")} == set(RULES)
    for path in ("README.md", "docs/verify.md", "CHANGELOG.md"):
        assert re.search(rf"\b{len(RULES)} (catalog )?lints", (ROOT / path).read_text(encoding="utf-8")), path
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


def test_lints_read_catalogs_alone(lint: Lint) -> None:
    """A role without any privilege gets the same answers, so no row of a tenant is in them."""
    stranger = "CREATE ROLE stranger; SET LOCAL ROLE stranger"
    fault = "DROP INDEX public.idx_mcp_servers_created_by"
    assert [each.object for each in lint(fault, stranger)] == [each.object for each in lint(fault)] != []


def test_redundant_indexes_are_accepted_with_their_measured_cost() -> None:
    """The figures of each reason are those of the page, as the benchmark wrote them."""
    measured = re.findall(r"^\| `(\w+)` \| ([\d.]+ MB) \| \d+ % \| \*\*(\S+ %)\*\*", page(COSTS), re.MULTILINE)
    accepted = {name.split(".")[2]: each.reason for name, each in access.read().lints[COSTS].items()}
    assert set(accepted) == {index for index, _, _ in measured}
    for index, size, cost in measured:
        assert f"{size} a million rows, {cost} on an INSERT" in accepted[index], index


def test_redundant_index_is_told_by_medians() -> None:
    """One slow run moves the spread and not the cost."""
    line = Cost("i", 10.04, 0.1, having=[1.1, 1.1, 9.0], without=[1.0, 1.0, 1.0], wal=[60.0]).line()
    assert line == "| `i` | 10.0 MB | 10 % | **+10.0 %** | +10 to +800 % | +60 B |"


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
