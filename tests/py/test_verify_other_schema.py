"""The verifier on another product: its own schema, roles, ids and context, and holes that are planted in it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Portaldb, drop_database
from psycopg import conninfo
from support import ask, paragraph

from portaldb import database
from portaldb.verify import access, run, tell
from portaldb.verify.labels import Labels
from portaldb.verify.outcome import Outcome

FOLDER = ROOT / "tests/py/notes"
ACCESS = FOLDER / "access.toml"
SCHEMA = (FOLDER / "schema.sql").read_text(encoding="utf-8")
NAME = "test_verify_notes"


@pytest.fixture(scope="module")
def server_of_notes(server: str) -> Iterator[str]:
    """Make the product's roles, and drop them with its database."""
    drop_database(server, NAME)
    ask(server, "CREATE ROLE notes_owner; CREATE ROLE notes_app")
    yield server
    drop_database(server, NAME)
    ask(server, "DROP ROLE notes_app; DROP ROLE notes_owner")


@pytest.fixture
def notes(server_of_notes: str) -> Iterator[str]:
    """Make the product's database, with nothing of mcp_portal in it."""
    ask(server_of_notes, f"CREATE DATABASE {NAME}")
    url = conninfo.make_conninfo(server_of_notes, dbname=NAME)
    ask(url, SCHEMA)
    yield url
    drop_database(server_of_notes, NAME)


HOLES = {
    "a table that its owner reads past its policies": (
        "ALTER TABLE notes.notes NO FORCE ROW LEVEL SECURITY",
        r"the owner \(as notes_owner\): SELECT on notes\.notes, row_security off",
    ),
    "a policy that shows what is public": (
        "ALTER POLICY notes_read ON notes.notes USING (tenant = notes.current_tenant() OR public)",
        r"a tenant \(tenant one, as notes_app\): SELECT on notes\.notes reaches 2 rows: 900000011, 900000013",
    ),
    "a policy that shows everything where there is no context": (
        "ALTER POLICY comments_own ON notes.comments USING (tenant = coalesce(notes.current_tenant(), tenant))",
        r"nobody \(no context\) \(as notes_app\): SELECT on notes\.comments reaches 3 rows",
    ),
    "a column too many": (
        "GRANT SELECT (email) ON notes.tenants TO notes_app",
        r"notes_app: SELECT \(email\) on notes\.tenants is allowed; meant: refused",
    ),
    "a view that reads as its owner": (
        "ALTER VIEW notes.tenant_overview RESET (security_invoker)",
        r"a tenant .*: SELECT on notes\.tenant_overview reaches 2 rows",
    ),
    "a function for PUBLIC": (
        "CREATE FUNCTION notes.titles() RETURNS SETOF text LANGUAGE sql BEGIN ATOMIC SELECT body FROM notes.notes; END;"
        " GRANT EXECUTE ON FUNCTION notes.titles() TO PUBLIC",
        r"notes\.titles\(\): entry: the access file has no entry for it",
    ),
    "a function that leaks with its owner's rights": (
        "CREATE OR REPLACE FUNCTION notes.current_tenant() RETURNS integer STABLE SECURITY DEFINER LANGUAGE sql "
        "AS 'SELECT max(id) FROM notes.tenants'",
        r"notes\.current_tenant\(\): runs: it runs as notes_owner, and is meant to run as its caller",
    ),
    "a function whose search path its caller chooses": (
        "ALTER FUNCTION notes.record_event(integer, text) RESET search_path",
        r"notes\.record_event\(integer,text\): search path: whoever calls it chooses",
    ),
    "a grant on a partition": (
        "GRANT SELECT ON notes.events_2027 TO notes_app",
        r"notes_app: SELECT \(what\) on notes\.events_2027 is allowed; meant: refused",
    ),
    "a partition without row security, after a grant by mistake": (
        "ALTER TABLE notes.events_2026 DISABLE ROW LEVEL SECURITY",
        r"SELECT on notes\.events_2026, after a mistaken GRANT reaches 2 rows",
    ),
    "a check that lets a row be given away": (
        "ALTER POLICY notes_change ON notes.notes WITH CHECK (true)",
        r"a tenant \(tenant one, as notes_app\): UPDATE THAT GIVES AWAY \(tenant\) on notes\.notes",
    ),
    "a check that lets a row be planted": (
        "ALTER POLICY notes_add ON notes.notes WITH CHECK (true)",
        r"a tenant .*: INSERT of .* on notes\.notes is allowed; meant: refused",
    ),
    "a forgotten table": (
        "CREATE TABLE notes.drafts (id integer); GRANT SELECT ON notes.drafts TO notes_app",
        r"notes\.drafts: entry: our roles reach it, and the access file has no entry for it",
    ),
    "row security that is off": (
        "ALTER TABLE notes.comments DISABLE ROW LEVEL SECURITY",
        r"another tenant .*: DELETE on notes\.comments reaches 3 rows",
    ),
    "a command too many": (
        "GRANT TRUNCATE ON notes.events TO notes_app",
        r"notes_app: TRUNCATE on notes\.events is allowed; meant: refused",
    ),
    "a role past row security": (
        "ALTER ROLE notes_app BYPASSRLS",
        r"notes_app: bypassrls: has it, which is not meant",
    ),
    "a role that is the owner too": (
        "GRANT notes_owner TO notes_app",
        r"notes_app: membership: is a member of notes_owner, meant is nothing",
    ),
}
"""What is planted, and the sentence by which it is told."""

NOT_LIVE = ("a partition without row security, after a grant by mistake", "a check that lets a row be given away")
"""What is tried on a throwaway database alone."""


def in_words(url: str, *statements: str, live: bool) -> list[str]:
    """Run statements, try the matrix, undo both; return the sentences of what is not as meant."""
    meant = access.read(ACCESS)
    with database.connect(url) as connection, run.inside(connection):
        for statement in statements:
            connection.execute(statement.encode())
        labels = Labels(meant.ids)
        results = run.matrix(connection, meant, labels, live=live)
        outcome = Outcome("", live, meant, labels, results, 0, 0)
        return [tell.sentence(outcome, result) for result in outcome.failures]


@pytest.mark.parametrize("live", [False, True], ids=["throwaway", "live"])
def test_other_schema_is_as_meant_without_holes(notes: str, live: bool) -> None:
    """Nothing is red that should not be."""
    assert in_words(notes, live=live) == []


def test_other_schema_shows_each_hole_alone(notes: str) -> None:
    """Each hole is found for itself, whatever else is well, and told by who, what and where."""
    for name, (statement, pattern) in HOLES.items():
        told = in_words(notes, statement, live=name not in NOT_LIVE)
        assert any(re.search(pattern, sentence) for sentence in told), f"{name} is not told: {told}"


def test_other_schema_by_the_command(notes: str, portaldb: Portaldb) -> None:
    """Green; then red with all the holes at once, each told; everything by --live, --access and --context."""
    options = ("verify", "--live", "--access", str(ACCESS), "--context", "notes.tenant")
    done = portaldb(*options, database=notes, check=True)
    assert "✓ Isolation holds" in done.stdout
    # The role's own power and membership hide others, and outlive the database.
    holes = {name: hole for name, hole in HOLES.items() if name not in NOT_LIVE and " role " not in f" {name} "}
    # The leaking function changes who everyone is: by itself, above.
    holes.pop("a function that leaks with its owner's rights")
    for statement, _ in holes.values():
        ask(notes, statement)
    done = portaldb(*options, "--json", database=notes)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    told = {(each["relation"], each["command"], each["column"], each["what"]) for each in found["failures"]}
    assert told >= {
        ("notes.notes", "select", "", "row_security off"),
        ("notes.notes", "select", "", "rows"),
        ("notes.comments", "select", "", "rows"),
        ("notes.tenants", "select", "email", "privilege"),
        ("notes.tenant_overview", "select", "", "rows"),
        ("notes.tenant_overview", "options", "", "catalog"),
        ("notes.titles()", "entry", "", "catalog"),
        ("notes.record_event(integer,text)", "search path", "", "catalog"),
        ("notes.events_2027", "select", "what", "privilege"),
        ("notes.notes", "insert", "", "rows"),
        ("notes.drafts", "entry", "", "catalog"),
        ("notes.comments", "delete", "", "rows"),
        ("notes.events", "truncate", "", "privilege"),
    }
    text = portaldb(*options, database=notes)
    paragraph(text, 1)
    assert "notes.drafts: entry: our roles reach it" in text.stdout


def test_other_schema_under_another_context_is_red(notes: str, portaldb: Portaldb) -> None:
    """Where the setting's name is wrong nobody is anybody, which is not what is meant."""
    done = portaldb("verify", "--live", "--access", str(ACCESS), "--context", "notes.other", database=notes)
    assert "a tenant (tenant one, as notes_app): SELECT on notes.notes reaches no row; meant: 1 row" in done.stdout
    paragraph(done, 1)


def test_other_schema_reports_point_into_its_access_file(notes: str, portaldb: Portaldb, tmp_path: Path) -> None:
    """No migrations of ours are read; a finding stands beside the entry of the access file that was given."""
    ask(notes, "ALTER POLICY notes_add ON notes.notes WITH CHECK (true)")
    log = tmp_path / "log.sarif"
    done = portaldb("verify", "--live", "--access", str(ACCESS), "--sarif", str(log), database=notes)
    paragraph(done, 1)
    result = json.loads(log.read_text(encoding="utf-8"))["runs"][0]["results"][0]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "tests/py/notes/access.toml"
    line = ACCESS.read_text(encoding="utf-8").splitlines()[place["region"]["startLine"] - 1]
    assert line == "[relations.notes]"
