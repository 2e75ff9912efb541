"""What `portaldb verify` tries beyond plain statements: each form and each attack finds the hole planted for it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from conftest import ROOT, MakeDatabase, copy_database, drop_database
from psycopg import conninfo
from support import ask, one

from portaldb import database
from portaldb.errors import UsageError
from portaldb.verify import access, attack, cells, forms, found, run, tell, trial
from portaldb.verify.labels import Labels
from portaldb.verify.outcome import Outcome

Holes = Callable[..., list[str]]

LEAKY_VIEW = """
DROP VIEW public.monitor_active_sessions;
CREATE VIEW public.monitor_active_sessions AS
SELECT id AS user_id FROM public.users WHERE md5(md5(md5(is_active::text))) = md5(md5(md5('true')));
GRANT SELECT ON public.monitor_active_sessions TO portal_monitor, portal_backup, mcp_admin
"""
"""A view with its owner's rights and no barrier: whoever reads it sees active users, and a function in WHERE all."""


@pytest.fixture(scope="module")
def url(server: str, templates: Callable[[str], str]) -> Iterator[str]:
    """Make one migrated database for what is planted and rolled back."""
    name = "test_verify_attacks"
    drop_database(server, name)
    copy_database(server, templates("migrate"), name)
    yield conninfo.make_conninfo(server, dbname=name)
    drop_database(server, name)


@pytest.fixture(scope="module")
def holes(url: str) -> Holes:
    """Plant, run the cells whose command begins with `command`, roll back; return the sentences of the red ones."""

    def planted(
        command: str, *statements: str, relation: str | None = None, live: bool = False, file: Path = access.DEFAULT
    ) -> list[str]:
        meant, labels = access.read(file), Labels()
        with database.connect(url) as connection, run.inside(connection):
            for statement in statements:
                connection.execute(statement.replace("{beta}", labels.text("@beta")).encode())
            # As run.prepare does, but only the part that is asked for.
            trial.insert_rows(connection, meant, labels, live=live)
            trial.make_tools(connection, meant, live=live)
            catalog = found.look(connection, meant, labels)
            derived = attack.derive(meant, catalog, labels, live=live, only=relation)
            if relation:
                derived += cells.derive(meant, catalog, labels, live=live, only=relation)
                derived += forms.derive(connection, meant, catalog, labels, live=live, only=relation)
            chosen = [cell for cell in derived if cell.command.startswith(command)]
            assert chosen, f"nothing is tried that begins with {command}"
            results = trial.run(connection, chosen, meant.setting)
            results += forms.undeclared(meant, catalog, results, relation) if command == "" else []
            outcome = Outcome("", live, meant, labels, [*results], 0, 0)
            return [
                f"{tell.sentence(outcome, each)} {tell.statement(outcome, each)} → {each.answer}"
                for each in outcome.failures
            ]

    return planted


def test_verify_is_green_as_migrated(url: str) -> None:
    """Every form and every attack comes out as meant, here and on the other versions of PostgreSQL."""
    outcome = run.verify(url, access.read(), live=False)
    assert not [f"{tell.sentence(outcome, each)} {each.answer}" for each in outcome.failures]
    tried = {result.cell.command.partition(",")[0] for result in outcome.results}
    assert {each.name for each in attack.attacks()} <= tried


def temporary(role: str) -> str:
    """Return the statement that grants TEMPORARY on the database at hand."""
    return f"DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO {role}', current_database()); END $$"


FORMS = [
    ("copy to", "public.users", "ALTER POLICY users_isolation ON public.users USING (true)"),
    ("copy from", "public.users", "ALTER TABLE public.users NO FORCE ROW LEVEL SECURITY"),
    ("copy to", "public.jobs", "GRANT SELECT ON public.jobs TO portal_app"),
    ("select by ctid", "public.users", "ALTER POLICY users_isolation ON public.users USING (true)"),
    ("select for update", "public.users", "ALTER POLICY users_self_update ON public.users USING (true)"),
    ("select for share", "public.users", "ALTER POLICY users_self_update ON public.users USING (true)"),
    ("update returning", "public.users", "ALTER POLICY users_self_update ON public.users USING (true)"),
    ("update where current of", "public.users", "ALTER POLICY users_self_update ON public.users USING (true)"),
    ("merge update", "public.users", "ALTER POLICY users_self_update ON public.users USING (true)"),
    (
        "merge update on true",
        "public.users",
        # A row that another policy holds would refuse it as a whole.
        "DROP POLICY users_erased_stay ON public.users; ALTER POLICY users_self_update ON public.users USING (true)",
    ),
    (
        "merge delete",
        "public.mcp_servers",
        "CREATE POLICY hole ON public.mcp_servers FOR DELETE TO portal_app USING (true)",
    ),
    (
        "delete returning",
        "public.mcp_servers",
        "CREATE POLICY hole ON public.mcp_servers FOR DELETE TO portal_app USING (true)",
    ),
    (
        "insert on conflict do update",
        "public.mcp_servers",
        "CREATE POLICY hole ON public.mcp_servers FOR UPDATE TO portal_app USING (true)",
    ),
    (
        "merge insert",
        "public.user_sessions",
        "ALTER POLICY user_sessions_isolation ON public.user_sessions WITH CHECK (true)",
    ),
    (
        "insert returning",
        "public.mcp_servers",
        "CREATE POLICY hole ON public.mcp_servers FOR INSERT TO portal_app WITH CHECK (true)",
    ),
]


@pytest.mark.parametrize(("form", "relation", "hole"), FORMS, ids=[f"{form} {rel}" for form, rel, _ in FORMS])
def test_verify_form_finds_a_hole(holes: Holes, form: str, relation: str, hole: str) -> None:
    """Each form by itself turns red for a policy or a right that it passes through."""
    told = holes(form, hole, relation=relation)
    assert told, f"{form} did not notice: {hole}"
    assert form.partition(" ")[0].upper() in told[0] and relation in told[0]


@pytest.mark.parametrize(
    ("command", "table"),
    # Whoever inserts a session fires a trigger that reads users, and that refuses by itself.
    [("update", "user_sessions"), ("delete", "user_sessions"), ("insert", "teams")],
)
def test_verify_row_security_off_is_tried_by_every_command(holes: Holes, command: str, table: str) -> None:
    """An owner that RLS is not forced on may switch it off for writing, too."""
    hole = f"ALTER TABLE public.{table} NO FORCE ROW LEVEL SECURITY"
    told = holes(command, hole, relation=f"public.{table}")
    assert any(f"{command.upper()} " in each and "row_security off is allowed" in each for each in told), told


KEYS = {
    "unique index": "CREATE UNIQUE INDEX hole ON public.user_sessions (user_agent)",
    "unique index over an expression": "CREATE UNIQUE INDEX hole ON public.user_sessions (lower(user_agent))",
    "deferred unique constraint": "ALTER TABLE public.user_sessions ADD CONSTRAINT hole UNIQUE (user_agent) "
    "DEFERRABLE INITIALLY DEFERRED",
    "unique index that no row can try": "CREATE UNIQUE INDEX hole ON public.user_sessions (ip_address)",
    "foreign key to a hidden row": "ALTER TABLE public.user_sessions ADD CONSTRAINT hole FOREIGN KEY (user_agent) "
    "REFERENCES public.mcp_servers (name)",
    "foreign key from a hidden row": "ALTER TABLE public.user_sessions ADD parent uuid CONSTRAINT hole "
    "REFERENCES public.user_sessions (id)",
    "foreign key of two columns from a hidden row": "ALTER TABLE public.user_sessions ADD UNIQUE (id, expires_at), "
    "ADD parent uuid, ADD parent_ends timestamptz, ADD CONSTRAINT hole FOREIGN KEY (parent, parent_ends) "
    "REFERENCES public.user_sessions (id, expires_at)",
    "unique index of which a part is written": "CREATE UNIQUE INDEX hole ON public.user_server_configs "
    "(server_id, encrypted_config)",
    "cascade to a hidden row": "ALTER TABLE public.user_sessions ADD parent uuid CONSTRAINT hole "
    "REFERENCES public.user_sessions (id) ON DELETE CASCADE",
}


@pytest.mark.parametrize("hole", KEYS.values(), ids=KEYS)
def test_verify_key_that_tells_and_is_not_declared_is_red(holes: Holes, hole: str) -> None:
    """A new key by which a tenant learns of a row that they cannot see fails until it is declared with a reason."""
    statements = [hole] if "mcp_servers" not in hole else [
        "ALTER TABLE public.mcp_servers ADD CONSTRAINT one_name UNIQUE (name)",
        "ALTER TABLE public.user_sessions ALTER user_agent TYPE varchar(255)", hole,
    ]  # fmt: skip
    relation = "public.user_server_configs" if "user_server_configs" in hole else "public.user_sessions"
    told = holes("", *statements, relation=relation)
    assert any("(hole)" in each and "what a key tells" in each for each in told), told


def test_verify_configuration_for_a_hidden_server_is_what_a_foreign_key_tells(holes: Holes) -> None:
    """Without the policy that a configuration's server is seen, its foreign key tells which servers there are."""
    hole = "DROP POLICY user_server_configs_visible_server ON public.user_server_configs"
    told = holes("", hole, relation="public.user_server_configs")
    assert any("user_server_configs_server_id_fkey" in each and "tool-of-beta" in each for each in told), told


def test_verify_declared_key_that_no_longer_tells_is_red(holes: Holes) -> None:
    """An oracle that is declared and not found is stale."""
    told = holes(
        "",
        "ALTER TABLE public.user_sessions DROP CONSTRAINT user_sessions_refresh_token_key",
        relation="public.user_sessions",
    )
    assert any("user_sessions_refresh_token_key: is in [oracles], and no key" in each for each in told), told


ATTACKS = [
    ("server files, COPY TO PROGRAM", "GRANT pg_execute_server_program TO portal_app"),
    ("server files, COPY TO a file", "GRANT pg_write_server_files TO portal_app"),
    ("server files, pg_read_file", "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO portal_app"),
    ("server files, pg_read_binary_file", "GRANT EXECUTE ON FUNCTION pg_read_binary_file(text) TO portal_app"),
    ("server files, pg_stat_file", "GRANT EXECUTE ON FUNCTION pg_stat_file(text) TO portal_app"),
    ("server files, pg_ls_dir", "GRANT EXECUTE ON FUNCTION pg_ls_dir(text) TO portal_app"),
    ("server files, lo_import", "GRANT EXECUTE ON FUNCTION lo_import(text) TO portal_app"),
    ("server files, lo_export", "GRANT EXECUTE ON FUNCTION lo_export(oid, text) TO portal_app"),
    ("server files in, COPY FROM PROGRAM", "GRANT pg_execute_server_program TO portal_app"),
    ("server files in, COPY FROM a file", "GRANT pg_read_server_files TO portal_app"),
    ("server functions", "GRANT EXECUTE ON FUNCTION pg_ls_waldir() TO portal_runner"),
    ("large objects, lo_get", "SET LOCAL lo_compat_privileges = on"),
    ("large objects, lo_put", "SET LOCAL lo_compat_privileges = on"),
    ("large objects, lo_open to read", "SET LOCAL lo_compat_privileges = on"),
    ("large objects, lo_unlink", "SET LOCAL lo_compat_privileges = on"),
    ("large objects, pg_largeobject", "GRANT SELECT ON pg_catalog.pg_largeobject TO portal_app"),
    ("replication, drop a slot", "ALTER ROLE portal_app REPLICATION"),
    ("replication, read a slot", "ALTER ROLE portal_app REPLICATION"),
    ("settings, session_replication_role", "GRANT SET ON PARAMETER session_replication_role TO portal_app"),
    ("settings, lo_compat_privileges", "GRANT SET ON PARAMETER lo_compat_privileges TO portal_app"),
    ("settings, log_statement", "GRANT SET ON PARAMETER log_statement TO portal_app"),
    ("settings, session_preload_libraries", "GRANT SET ON PARAMETER session_preload_libraries TO portal_app"),
    ("settings, LOAD", "ALTER ROLE portal_app SUPERUSER"),
    ("temporary, a table", temporary("portal_app")),
    ("temporary, a view", temporary("portal_app")),
    ("temporary, a sequence", temporary("portal_app")),
    ("catalog values, pg_authid", "GRANT SELECT ON pg_catalog.pg_authid TO portal_app"),
    ("catalog values, pg_statistic", "GRANT SELECT ON pg_catalog.pg_statistic TO portal_app"),
    ("activity, pg_stat_activity", "GRANT pg_read_all_stats TO portal_monitor"),
    ("activity, pg_stat_get_activity", "GRANT pg_read_all_stats TO portal_monitor"),
    ("leakproof", "ALTER FUNCTION public.base64url_encode(bytea) LEAKPROOF"),
    ("leaky function", LEAKY_VIEW),
    ("error messages", LEAKY_VIEW),
    (
        "explain",
        "ALTER POLICY users_isolation ON public.users "
        "USING (id = (SELECT r.user_id FROM public.app_reach AS r) AND id <> '{beta}')",
    ),
    ("statistics", "ALTER TABLE public.teams DISABLE ROW LEVEL SECURITY; GRANT SELECT ON public.teams TO portal_app"),
    ("shadowed by temporary", "ALTER FUNCTION public.create_audit_log SET search_path = ''"),
    ("shadowed by schema", "ALTER FUNCTION public.app_narrowed_to() RESET search_path"),
    ("remains", "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_try_advisory_xact_lock_shared(bigint) FROM PUBLIC"),
    (
        "notifies",
        "CREATE OR REPLACE FUNCTION public.update_updated_at() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_notify('changed', NEW::text); RETURN NEW; END $$",
    ),
    ("ways out", "CREATE FOREIGN DATA WRAPPER hole; GRANT USAGE ON FOREIGN DATA WRAPPER hole TO portal_app"),
    (
        "called in the name of beta",
        "CREATE OR REPLACE FUNCTION public.create_audit_log(p_user_id uuid, p_action varchar, p_resource_type varchar, "
        "p_resource_id uuid, p_details jsonb, p_ip_address inet, p_user_agent text) RETURNS uuid LANGUAGE plpgsql "
        "SECURITY DEFINER AS $$ BEGIN RETURN p_user_id; END $$",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "hole"), ATTACKS, ids=[name for name, _ in ATTACKS])
def test_verify_attack_finds_a_hole(holes: Holes, name: str, hole: str) -> None:
    """Each attack succeeds where a hole is planted for it, and says so by its name."""
    told = holes(name, hole)
    assert told, f"{name} did not notice: {hole}"
    assert name in told[0]


def test_verify_every_attack_has_a_hole_here() -> None:
    """No attack is without a test that has seen it red."""
    planted = {name.partition(",")[0] for name, _ in ATTACKS}
    elsewhere = {"own session", "statement statistics"}
    assert {each.name for each in attack.attacks()} == (planted - {"called in the name of beta"}) | elsewhere


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("[oracles.user_sessions]", "[oracles.sessions]", "no entry for public.sessions"),
        ('= [1, { sql = "CURRENT_TIMESTAMP" }]', "= [1]", "with 1 arguments"),
    ],
)
def test_verify_refuses_an_access_file_that_names_nothing(tmp_path: Path, before: str, after: str, told: str) -> None:
    """An oracle of no relation, and a call with too few arguments, are named before anything runs."""
    text = access.DEFAULT.read_text(encoding="utf-8")
    assert before in text
    file = tmp_path / "access.toml"
    file.write_text(text.replace(before, after), encoding="utf-8")
    with pytest.raises(UsageError, match=told):
        access.read(file)


def test_verify_what_remains_is_held_by_what_is_tried() -> None:
    """Each line of docs/verify.md on what remains names attacks or oracles that there are."""
    page = (ROOT / "docs/verify.md").read_text(encoding="utf-8")
    lines = [line for line in page.partition("## What remains")[2].splitlines() if line.startswith("| ")][1:]
    tried = {name for each in attack.attacks() for name in (each.name, *(f"{each.name}, {t}" for t, _ in each.tries))}
    assert len(lines) > 5
    for line in lines:
        held = line.rstrip("| ").rpartition("|")[2]
        names = set(re.findall(r"`([^`[]+)`", held))
        assert names <= tried, f"not tried: {names - tried}"
        assert names or "[oracles]" in held or forms.KEY in held, f"nothing holds: {line}"


def test_verify_statement_statistics_of_others_are_hidden(holes: Holes, url: str) -> None:
    """A role that may read all statistics reads others' statements, where the extension is loaded."""
    try:
        ask(url, "SELECT count(*) FROM public.pg_stat_statements")
    except psycopg.errors.ObjectNotInPrerequisiteState:
        pytest.skip("pg_stat_statements is not loaded on this server")
    assert holes("statement statistics", "GRANT pg_read_all_stats TO portal_monitor")


def test_verify_leaky_view_is_found_by_the_leaky_function_alone(holes: Holes) -> None:
    """What is read of the view is as meant; what a function in its WHERE is given is not."""
    relation = "public.monitor_active_sessions"
    assert not holes("select", LEAKY_VIEW, relation=relation)
    told = [each for each in holes("leaky", LEAKY_VIEW, relation=relation) if each.startswith("monitoring (")]
    assert told and "dora" in told[0]


def test_verify_attacks_of_a_session_of_its_own(url: str) -> None:
    """A login that is a member of a role takes on another where the role does; the login is gone afterwards."""
    meant = access.read()
    with database.connect(url) as connection:
        assert all(each.ok for each in attack.sessions(connection, url, meant))
        connection.execute("GRANT portal_runner TO portal_app")
        try:
            results = attack.sessions(connection, url, meant)
        finally:
            connection.execute("REVOKE portal_runner FROM portal_app")
    red = {result.cell.command for result in results if not result.ok}
    assert red == {"own session, SET ROLE", "own session, RESET ROLE, then SET ROLE"}
    assert not one(url, "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'portaldb_verify%%'")


def test_verify_maintain_is_tried_where_there_is_such_a_right(holes: Holes, url: str) -> None:
    """From PostgreSQL 17 on, a grant of MAINTAIN shows by what can be done with it."""
    if one(url, "SELECT current_setting('server_version_num')::int") < 170000:
        pytest.skip("PostgreSQL 17 brought MAINTAIN")
    told = holes("maintain", "GRANT MAINTAIN ON public.jobs TO portal_app", relation="public.jobs")
    assert any("REINDEX" in each for each in told)


@pytest.fixture
def notes(make_database: MakeDatabase) -> str:
    """Make the second product, with a sequence."""
    url = make_database(migrate=True)
    ask(url, (ROOT / "tests/py/data/notes/schema.sql").read_text(encoding="utf-8"))
    return url


@pytest.mark.parametrize("live", [False, True], ids=["tried", "live"])
def test_verify_row_that_is_given_away_is_found(notes: str, tmp_path: Path, live: bool) -> None:
    """Where the tenant's column may be written, a policy's check holds it to oneself; without one it is told."""
    file = tmp_path / "access.toml"
    text = (ROOT / "tests/py/data/notes/access.toml").read_text(encoding="utf-8")
    file.write_text(text.replace('["body"]', '["body", "tenant"]'), encoding="utf-8")
    meant = access.read(file)
    ask(notes, "GRANT UPDATE (tenant) ON notes.notes TO portal_app")

    def red() -> set[str]:
        with database.connect(notes) as connection, run.inside(connection):
            results = run.matrix(connection, meant, Labels(meant.ids), live=live, only="notes.notes")
        assert any(result.cell.command == "update that gives away" for result in results)
        return {result.cell.command for result in results if not result.ok}

    assert red() == set()
    ask(
        notes,
        "CREATE POLICY notes_read ON notes.notes FOR SELECT TO portal_app USING (true);"
        "ALTER POLICY notes_own ON notes.notes WITH CHECK (true)",
    )
    assert "update that gives away" in red()


@pytest.mark.parametrize("live", [False, True], ids=["tried", "live"])
def test_verify_sequence_is_tried(notes: str, tmp_path: Path, live: bool) -> None:
    """The right to INSERT stands for the next number, the right to UPDATE for setting it."""
    file = tmp_path / "access.toml"
    text = (ROOT / "tests/py/data/notes/access.toml").read_text(encoding="utf-8")
    file.write_text(f'{text}\n[relations.numbers]\ninsert = {{ nobody = "all", tenants = "all" }}\n', encoding="utf-8")
    meant = access.read(file)
    ask(notes, "CREATE SEQUENCE notes.numbers")
    ask(notes, "GRANT USAGE ON SEQUENCE notes.numbers TO portal_app")

    def red() -> set[str]:
        with database.connect(notes) as connection, run.inside(connection):
            results = run.matrix(connection, meant, Labels(meant.ids), live=live, only="notes.numbers")
        return {result.cell.command for result in results if not result.ok and result.cell.what != "catalog"}

    assert red() == set()
    ask(notes, "GRANT UPDATE ON SEQUENCE notes.numbers TO portal_app")
    assert red() == {"setval"}
