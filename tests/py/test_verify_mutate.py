"""Mutation testing of the rules: what is weakened, what is noticed, and that nothing of it outlives the command."""

import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import ROOT, MakeDatabase, Portaldb, drop_database
from support import ask, command, one, paragraph, until

from portaldb.verify import access, mutants, mutation, report
from portaldb.verify.edits import edits
from portaldb.verify.outcome import Mutant

NOTES = ROOT / "tests/py/data/notes"

KINDS = {
    "policy: drop", "policy: USING (true)", "policy: WITH CHECK (true)", "policy: command", "policy: roles",
    "policy: permissive", "policy: condition", "policy: comparison", "policy: literal",
    "row security: disable", "row security: no force", "view option",
    "grant: table", "grant: column", "grant: partition",
    "function: search path", "function: SECURITY DEFINER", "function: owner", "function: EXECUTE",
    "function: condition", "function: comparison", "function: literal",
    "role: SUPERUSER", "role: BYPASSRLS", "role: CREATEROLE", "role: CREATEDB", "role: REPLICATION", "role: membership",
    "create: schema", "create: database", "default privileges",
    "constraint: drop", "constraint: one more value", "constraint: ON DELETE", "column: DROP NOT NULL",
    "trigger: drop", "trigger: disable",
}  # fmt: skip


def test_mutants_are_of_every_kind_and_from_the_live_catalog(make_database: MakeDatabase, tmp_path: Path) -> None:
    """Each kind of weakening is generated, for each policy, table, constraint and trigger that the catalog has."""
    url = make_database(migrate=True)
    ask(url, "CREATE TABLE public.fresh (id int PRIMARY KEY, CONSTRAINT positive CHECK (id > 0))")
    ask(url, "ALTER TABLE public.fresh OWNER TO mcp_admin, ENABLE ROW LEVEL SECURITY")
    ask(url, "CREATE POLICY fresh_own ON public.fresh TO portal_app USING (id > 5)")
    file = tmp_path / "access.toml"
    file.write_text(f"{access.DEFAULT.read_text(encoding='utf-8')}\n[relations.fresh]\n", encoding="utf-8")
    made = mutation.changes(url, access.read(file))
    assert set(mutants.kinds(made)) >= KINDS
    assert len(made) == len(set(made)) > 5000
    statements = {change.statement for change in made}
    policies = ask(url, "SELECT format('%I ON %I.%I', policyname, schemaname, tablename) FROM pg_policies")
    dropped = {re.sub('"', "", each) for each in statements if each.startswith("DROP POLICY") and ";" not in each}
    assert dropped == {f"DROP POLICY {policy}" for policy in policies}
    assert {
        "ALTER TABLE public.fresh DISABLE ROW LEVEL SECURITY",
        'ALTER TABLE public.fresh DROP CONSTRAINT "positive"',
        'ALTER POLICY "fresh_own" ON public.fresh USING (true)',
        "GRANT SELECT (id) ON public.fresh TO PUBLIC",
        "GRANT UPDATE (role) ON public.users TO portal_app",
        "GRANT mcp_admin TO portal_app",
        "ALTER ROLE portal_app BYPASSRLS",
    } <= statements
    assert "GRANT SELECT ON public.users TO portal_app" not in statements, "it has that privilege already"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("(a = b)", ["a = b → a <> b"]),
        ("((a) AND (b))", ["(a) → true", "(b) → true"]),
        ("(a OR (b AND c))", ["a → false", "(b AND c) → false", "b → true", "c → true"]),
        ("x BETWEEN 1 AND 2", ["x BETWEEN → x NOT BETWEEN"]),
        ("SELECT 1 FROM t WHERE t.a;", ["t.a → true"]),
        ("IF a AND b THEN c; END IF;", ["a AND b → false", "a → true", "b → true"]),
        ("role IN ('one', 'two words')", ["role IN → role NOT IN", "role IN ('one' → role IN ('one_else'"]),
        ("a IS NOT DISTINCT FROM 'a AND b'", ["a IS NOT → a IS"]),
        ('-- a AND b\n"x AND y" IS NULL', ['"x AND y" IS → "x AND y" IS NOT']),
    ],
)
def test_mutants_of_a_text_change_one_thing(text: str, told: list[str]) -> None:
    """A condition let go, a comparison turned, a word replaced: each alone, and nothing inside strings or comments."""
    found = list(edits(text))
    assert len(found) == len(told), [each.told for each in found]
    for edit, said in zip(found, told, strict=True):
        before, after = said.split(" → ")
        if edit.kind == "condition":
            assert edit.told == said
        else:
            assert " ".join(text.split()).replace(before, after, 1) == " ".join(edit.text.split())


@pytest.fixture
def notes(tmp_path: Path) -> Callable[..., Path]:
    """Write the second product's access file and schema anew, with a replacement each, and return the first."""

    def write(*, meant: tuple[str, str] = ("", ""), made: tuple[str, str] = ("", ""), more: str = "") -> Path:
        for name, (old, new), end in (("schema.sql", made, ""), ("access.toml", meant, more)):
            text = (NOTES / name).read_text(encoding="utf-8")
            assert old in text, f"the plant has nothing to replace: {old}"
            (tmp_path / name).write_text((text.replace(old, new) if old else text) + end, encoding="utf-8")
        return tmp_path / "access.toml"

    return write


UNTESTED = (
    "(SELECT nullif(current_setting('notes.tenant', true), '')::integer))",
    "(SELECT nullif(current_setting('notes.tenant', true), '')::integer) AND id > 0)",
)
"""A condition that no synthetic row of the second product tells from its absence."""


def test_mutate_another_schema_notices_everything(server: str, portaldb: Portaldb) -> None:
    """The second product, made by its own schema file on a throwaway database, has a suite that notices everything."""
    done = portaldb("verify", "--mutate", "--access", str(NOTES / "access.toml"), "--json", database=server, check=True)
    tried = json.loads(done.stdout)["mutants"]
    assert len(tried) > 60 and all(mutant["killed_by"] for mutant in tried)
    assert {mutant["behaviour"] for mutant in tried} == {True, False}
    assert not [mutant["statement"] for mutant in tried if "users" in mutant["statement"]], "not of this product"


def test_mutate_tells_what_a_weak_suite_would_not_notice(
    server: str, portaldb: Portaldb, notes: Callable[..., Path]
) -> None:
    """A condition that nothing tests survives, is told with its statement and fails the command; the rest is killed."""
    done = portaldb("verify", "--mutate", "--access", str(notes(made=UNTESTED)), database=server)
    assert "[survivors] with the reason" in paragraph(done, 1)
    assert "✗ policy: condition: notes_own on notes.notes, USING: (id > 0) → true" in done.stdout
    assert re.search(r"^policy: condition +2 +1 +0 +✗ 1 unnoticed", done.stdout, re.MULTILINE), done.stdout
    score = re.search(r"mutants  (\d+) tried, (\d+) killed \((\d+\.?\d*) %\)", done.stdout)
    assert score and int(score[1]) == int(score[2]) + 1 and float(score[3]) < 100


def test_mutate_accepts_a_survivor_with_a_reason(server: str, portaldb: Portaldb, notes: Callable[..., Path]) -> None:
    """A listed survivor passes and its reason is told; a listed weakening that is noticed fails the command."""
    listed = '\n[survivors]\n"policy: condition: * (id > 0) → true" = "an id is never negative"\n'
    done = portaldb("verify", "--mutate", "--access", str(notes(made=UNTESTED, more=listed)), database=server)
    assert done.returncode == 0, done.stdout
    assert "→ true Accepted: an id is never negative." in done.stdout
    stale = portaldb("verify", "--mutate", "--access", str(notes(more=listed)), database=server)
    paragraph(stale, 1)
    assert "✗ stale exception: listed in [survivors], and nothing like it survives" in stale.stdout


def test_mutate_leaves_a_red_suite_alone(server: str, portaldb: Portaldb, notes: Callable[..., Path]) -> None:
    """A suite that is red by itself would notice anything, so nothing is mutated; here a NOT NULL without a trial."""
    file = notes(meant=('required = ["tenant", "public"]', 'required = ["tenant"]'))
    done = portaldb("verify", "--mutate", "--access", str(file), database=server)
    assert "Nothing was mutated" in paragraph(done, 1)
    assert "nothing shows that it works" in done.stdout and "mutants" not in done.stdout


def test_mutants_accepted_and_stale_are_told_apart() -> None:
    """A reason counts for what it names and survives; a pattern that names a killed one alone is stale."""
    alive = Mutant("policy: drop", "p on t", "DROP POLICY p ON t", "")
    killed = Mutant("policy: drop", "q on t", "DROP POLICY q ON t", "noticed", behaviour=True)
    judged = mutation.accept([alive, killed], {"policy: drop: DROP POLICY p*": "why", "policy: drop: * q ON t": "no"})
    assert [mutant.ok for mutant in judged] == [True, True, False]
    assert (judged[0].accepted, judged[1].accepted) == ("why", "")
    assert judged[2].kind == "stale exception"
    assert report.score(judged[:2]) == (
        "2 tried, 1 killed (100 %): 1 by what was tried, 0 by the catalog alone; 1 accepted, 0 unnoticed."
    )
    assert "(50 %)" in report.score([killed, Mutant("policy: drop", "", "", "")])


def test_mutate_refuses_a_running_database(make_database: MakeDatabase, portaldb: Portaldb) -> None:
    """Weakening a running database is refused before anything is looked at."""
    done = portaldb("verify", "--live", "--mutate", database=make_database())
    assert done.returncode == 2
    assert "Leave --live out" in done.stderr


ROLES = (
    "SELECT to_jsonb(r) - 'rolpassword' FROM pg_roles AS r UNION ALL SELECT to_jsonb(m) FROM pg_auth_members AS m"
    " ORDER BY 1"
)


@pytest.fixture
def left_over(server: str) -> Iterator[Callable[[], list[str]]]:
    """Return the throwaway databases that are there; those that a kill leaves behind go with the test."""

    def there() -> list[str]:
        return [str(name) for name in ask(server, "SELECT datname FROM pg_database WHERE datname LIKE 'portaldb_v%'")]

    yield there
    for name in there():
        drop_database(server, name)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_mutate_interrupted_leaves_roles_as_they_were(
    server: str, how: signal.Signals, left_over: Callable[[], list[str]], templates: Callable[[str], str]
) -> None:
    """Whenever it is ended, no role has changed; after Ctrl-C no database is left either."""
    templates("init")  # so that the roles are there
    before = ask(server, ROLES)
    changing = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'portaldb verify' AND state <> 'idle'"
        " AND datname LIKE 'portaldb_verify%' AND backend_xid IS NOT NULL"
    )
    with command("verify", "--mutate", database=server) as process:
        # One after the other, each with the patience of its own.
        until(lambda: len(left_over()) == 1, "the database of the suite")
        until(lambda: len(left_over()) == 2, "the second worker's database", patience=180)
        until(lambda: int(one(server, changing)) > 1, "both workers to be at it", patience=180)
        process.send_signal(how)
        process.communicate(timeout=120)
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'portaldb verify'"
    until(lambda: not one(server, ours), "its sessions to end")
    assert ask(server, ROLES) == before
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert not left_over()
