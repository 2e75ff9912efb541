"""The isolation verifier: green on what the migrations make, red for every hole that is planted by hand."""

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from conftest import ROOT, Login, MakeDatabase, Portaldb, copy_database, drop_database
from psycopg import conninfo
from support import ask, command, one, paragraph, until

from portaldb import database
from portaldb.verify import access, run, tell
from portaldb.verify.labels import Labels
from portaldb.verify.outcome import Outcome

POLICIES = [
    (name, table)
    for path in sorted(ROOT.glob("policies/[0-9]*[a-z].sql"))
    if ".rollback." not in path.name
    for name, table in re.findall(r"CREATE POLICY (\w+) ON (\S+)", path.read_text(encoding="utf-8"))
    if name != "users_erased_stay"
]
"""Every policy of the migrations, and its table, but for the one that shows beside another transaction alone: whoever
was erased is shut out besides. "An erased user's name does not come back" (test_api_races.py) turns red without it."""

Weaken = Callable[..., list[str]]


@pytest.fixture(scope="module")
def weaken(server: str, templates: Callable[[str], str]) -> Iterator[Weaken]:
    """Run a statement, try the matrix (of one relation), undo both; return the sentences of what is not as meant."""
    name = "test_verify_weaken"
    drop_database(server, name)
    copy_database(server, templates("migrate"), name)
    meant = access.read()

    def weakened(*statements: str, relation: str | None = None, live: bool = False) -> list[str]:
        with database.connect(conninfo.make_conninfo(server, dbname=name)) as connection, run.inside(connection):
            for statement in statements:
                connection.execute(statement.encode())
            labels = Labels()
            results = run.matrix(connection, meant, labels, live=live, only=relation)
            outcome = Outcome("", live, meant, labels, results, 0, 0)
            return [
                f"{tell.sentence(outcome, result)} {tell.statement(outcome, result)}" for result in outcome.failures
            ]

    yield weakened
    drop_database(server, name)


def test_verify_live_leaves_nothing_and_reads_no_row_of_others(make_database: MakeDatabase, portaldb: Portaldb) -> None:
    """A running database is tried beside a transaction that holds its rows locked; nothing is left behind."""
    url = make_database(migrate=True)
    ask(url, "INSERT INTO public.users (azure_oid, email) VALUES ('real', 'real@example.org')")
    ask(url, "INSERT INTO public.user_sessions (user_id, session_token, expires_at)"
        " SELECT id, 'real', 'infinity' FROM public.users")  # fmt: skip
    counts = "SELECT (SELECT count(*) FROM public.users), (SELECT count(*) FROM public.audit_logs)"
    before = ask(url, counts)
    with psycopg.connect(url) as traffic:
        traffic.execute("SELECT FROM public.users FOR UPDATE")
        traffic.execute("SELECT FROM public.mcp_servers FOR UPDATE")
        traffic.execute("UPDATE public.user_sessions SET last_activity = now()")
        done = portaldb("verify", "--live", database=url, check=True)
    assert "; 0 not as meant" in done.stdout and "Rolled back" in done.stdout
    assert ask(url, counts) == before
    assert not one(url, "SELECT count(*) FROM pg_namespace WHERE nspname = 'portaldb_verify'")


@pytest.mark.parametrize(("policy", "table"), POLICIES, ids=[name for name, _ in POLICIES])
def test_verify_dropped_policy_is_red_and_named(weaken: Weaken, policy: str, table: str) -> None:
    """Dropping any one policy is told with the actor, the table and the statement."""
    told = weaken(f"DROP POLICY {policy} ON {table}", relation=table)
    assert told, f"{policy} was dropped and nothing noticed"
    assert all(table in sentence for sentence in told)
    assert re.search(r"\((tenant \w+, )?as \w+\): (SELECT|INSERT|UPDATE|DELETE)", told[0]), told[0]
    schema, name = table.split(".")
    assert f'"{schema}"."{name}"' in told[0] or f"{schema}.{name}" in told[0]


WEAKER = {
    "policy that is always true": "ALTER POLICY users_isolation ON public.users USING (true)",
    "update policy that is always true": "ALTER POLICY users_self_update ON public.users USING (true)",
    "policy without its check": "ALTER POLICY audit_logs_api_insert ON public.audit_logs WITH CHECK (true)",
    "RLS off": "ALTER TABLE public.user_sessions DISABLE ROW LEVEL SECURITY",
    "RLS not forced": "ALTER TABLE public.teams NO FORCE ROW LEVEL SECURITY",
    "RLS off on a partition": "ALTER TABLE public.audit_logs_2024_01 DISABLE ROW LEVEL SECURITY",
    "grant on a partition": "GRANT SELECT ON public.audit_logs_2024_01 TO portal_app",
    "grant on a column": "GRANT UPDATE (role) ON public.users TO portal_app",
    "grant of a strong command": "GRANT TRUNCATE ON public.users TO portal_app",
    "grant to PUBLIC": "GRANT SELECT ON public.jobs TO PUBLIC",
    "view of its owner": "ALTER VIEW public.user_dashboard RESET (security_invoker)",
    "statistics of its owner": "ALTER VIEW public.server_statistics RESET (security_invoker)",
    "function for everyone": "GRANT EXECUTE ON FUNCTION public.cleanup_expired_sessions() TO PUBLIC",
    "function that runs as its owner": "ALTER FUNCTION public.current_app_user_id() SECURITY DEFINER",
    "function without a search path": "ALTER FUNCTION public.create_audit_log RESET search_path",
    "monitoring view without a barrier": "ALTER VIEW public.monitor_audit_summary RESET (security_barrier)",
    "new function": "CREATE FUNCTION public.new() RETURNS int LANGUAGE sql RETURN 1",
    "new table": "CREATE TABLE public.new (); GRANT SELECT ON public.new TO portal_app",
    "new table of nobody": "CREATE TABLE public.new ()",
    "dropped table": "DROP VIEW public.monitor_audit_summary",
    "role past RLS": "ALTER ROLE portal_runner BYPASSRLS",
    "role of the owner": "GRANT mcp_admin TO portal_app",
    "role that makes objects": "GRANT CREATE ON SCHEMA public TO portal_app",
    "default privileges": "ALTER DEFAULT PRIVILEGES FOR ROLE mcp_admin GRANT SELECT ON TABLES TO portal_app",
    "policy for everyone": "ALTER POLICY teams_isolation ON public.teams TO PUBLIC",
    "policy for a role that may not": "ALTER POLICY teams_isolation ON public.teams TO portal_app, portal_monitor",
    "constraint dropped": "ALTER TABLE public.users DROP CONSTRAINT valid_role",
    "unique key dropped": "ALTER TABLE public.user_sessions DROP CONSTRAINT user_sessions_refresh_token_key",
    "NOT NULL dropped": "ALTER TABLE public.users ALTER COLUMN email DROP NOT NULL",
    "trigger disabled": "ALTER TABLE public.users DISABLE TRIGGER update_users_updated_at",
}


@pytest.mark.parametrize("statement", WEAKER.values(), ids=WEAKER)
def test_verify_finds_a_weakening(weaken: Weaken, statement: str) -> None:
    """Each kind of hole turns the matrix red."""
    relation = next(iter(re.findall(r" ON (public\.\w+)| (?:TABLE|VIEW) (public\.\w+)", statement)), ("", ""))
    assert weaken(statement, relation="".join(relation) or None), f"nothing noticed: {statement}"


def test_verify_counts_unknown_as_a_failure(weaken: Weaken) -> None:
    """A policy that raises an error is no proof of anything."""
    told = weaken("ALTER POLICY teams_isolation ON public.teams USING (1 / 0 = 1)", relation="public.teams")
    assert any("is unknown" in sentence for sentence in told)


def test_verify_tries_each_value_that_a_check_names(weaken: Weaken) -> None:
    """A CHECK that takes one value more than the access file says is told with the value."""
    wider = "CHECK (catalog_type = ANY (ARRAY['predefined'::text, 'custom', 'hidden']))"
    told = weaken(
        "ALTER TABLE public.mcp_servers DROP CONSTRAINT valid_catalog_type",
        f"ALTER TABLE public.mcp_servers ADD CONSTRAINT valid_catalog_type {wider}",
        relation="public.mcp_servers",
    )
    assert len(told) == 1
    assert "INSERT of catalog_type = hidden on public.mcp_servers, valid_catalog_type is accepted" in told[0]


def test_verify_tells_a_rule_without_a_trial_and_an_unrelated_error(weaken: Weaken) -> None:
    """A constraint that nothing shows to work is a failure, as is a refusal for another reason than the meant one."""
    told = weaken(
        "ALTER TABLE public.users ADD CONSTRAINT planted CHECK (1 / (length(role) - 4) < 5)",
        relation="public.users",
    )
    assert any("constraint planted: the access file has no trial of it" in sentence for sentence in told)
    assert any("valid_role is unknown; meant: refused by valid_role" in sentence for sentence in told)


@pytest.mark.parametrize("rule", ["CASCADE", "SET NULL"])
def test_verify_sees_what_a_deleted_user_takes_along(weaken: Weaken, rule: str) -> None:
    """A foreign key with another ON DELETE is told with what became of the row."""
    told = weaken(
        "ALTER TABLE public.teams DROP CONSTRAINT teams_created_by_fkey",
        "ALTER TABLE public.teams ADD CONSTRAINT teams_created_by_fkey"
        f" FOREIGN KEY (created_by) REFERENCES public.users (id) ON DELETE {rule}",
        relation="public.teams",
    )
    assert f"is {rule.lower()}; meant: refused by teams_created_by_fkey" in told[0]


def test_verify_next_months_partition_is_tried(weaken: Weaken) -> None:
    """The partition that the job makes inside the transaction is among what is tried."""
    ahead = (
        "CREATE EVENT TRIGGER planted ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION public.plant()"
    )
    plant = (
        "CREATE FUNCTION public.plant() RETURNS event_trigger LANGUAGE plpgsql AS $$ DECLARE made record; BEGIN "
        "FOR made IN SELECT objid::regclass AS name FROM pg_event_trigger_ddl_commands() WHERE object_type = 'table' "
        "LOOP EXECUTE format('GRANT SELECT ON %s TO portal_app', made.name); END LOOP; END $$"
    )
    told = weaken(plant, ahead)
    assert any(re.search(r"portal_app: SELECT .* on public\.audit_logs_\d{4}_\d{2} is allowed", each) for each in told)


def test_verify_row_security_of_the_partitions_ahead_is_tried(weaken: Weaken) -> None:
    """Row security switched off on the last partition ahead shows, which only a synthetic row in it can tell."""
    ahead = (
        "DO $$ BEGIN PERFORM public.ensure_audit_partitions(4); EXECUTE format('ALTER TABLE %s DISABLE ROW LEVEL "
        "SECURITY', (SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'public.audit_logs'"
        "::regclass AND inhrelid::regclass::text ~ '_2[0-9]{3}_')); END $$"
    )
    assert any("after a mistaken GRANT" in sentence for sentence in weaken(ahead))


def test_verify_by_hand_names_tenant_table_and_statement(make_database: MakeDatabase, portaldb: Portaldb) -> None:
    """The command itself: a policy weakened by hand, --live, exit code 1 and one readable sentence."""
    url = make_database(migrate=True)
    ask(url, "ALTER POLICY user_configs_isolation ON public.user_server_configs USING (true)")
    done = portaldb("verify", "--live", database=url)
    paragraph(done, 1)
    assert "a user (tenant alpha, as portal_app): SELECT on public.user_server_configs reaches 10 rows:" in done.stdout
    assert "config-of-beta" in done.stdout
    assert 'FROM "public"."user_server_configs"' in done.stdout


def test_verify_refuses_a_login_that_cannot_act_as_everyone(
    make_database: MakeDatabase, portaldb: Portaldb, login: Login
) -> None:
    """A service's login is told what it needs."""
    done = portaldb("verify", "--live", database=login(make_database(migrate=True), "portal_app"))
    assert "Connect as a superuser" in paragraph(done, 8)


def test_verify_refuses_an_access_file_that_contradicts_itself(
    make_database: MakeDatabase, portaldb: Portaldb, tmp_path: Path
) -> None:
    """A scope that is not there is named, before anything runs."""
    file = tmp_path / "access.toml"
    file.write_text(access.DEFAULT.read_text(encoding="utf-8").replace('users = "placed"', 'users = "elsewhere"'))
    done = portaldb("verify", "--live", "--access", str(file), database=make_database())
    assert "elsewhere" in paragraph(done, 2)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "kill"])
def test_verify_interrupted_drops_its_database(server: str, how: signal.Signals) -> None:
    """After Ctrl-C, or when it is told to end, nothing is left on the server."""
    there = "SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'portaldb_verify%%' AND state = 'active'"
    with command("verify", database=server) as process:
        until(lambda: one(server, there), "the matrix to be under way")
        process.send_signal(how)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert not ask(server, "SELECT datname FROM pg_database WHERE datname LIKE 'portaldb_verify%%'")
