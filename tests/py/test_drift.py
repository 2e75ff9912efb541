"""`portaldb drift`: each change by hand is found and named, and nothing else ever is."""

import json
import secrets
from collections.abc import Callable, Iterator

import psycopg
import pytest
from conftest import Login, MakeDatabase, Portaldb, copy_database, drop_database
from psycopg import conninfo
from support import paragraph, series

from portaldb import catalog, ddl, drift, manifest
from portaldb.catalog import Thing
from portaldb.cluster import Cluster
from portaldb.database import connect, reading
from portaldb.drift import Change
from portaldb.layout import sql_root
from portaldb.source import read

CHANGES: dict[str, tuple[str, str, str]] = {
    # What somebody does by hand: the statements, those that undo it, and how the report names it.
    "drops an index": (
        "DROP INDEX public.idx_users_email",
        "CREATE INDEX idx_users_email ON public.users (email); ALTER INDEX public.idx_users_email OWNER TO mcp_admin",
        "missing index public.idx_users_email",
    ),
    "changes an index": (
        "DROP INDEX public.idx_users_role; CREATE INDEX idx_users_role ON public.users (role)",
        "DROP INDEX public.idx_users_role; CREATE INDEX idx_users_role ON public.users (role) WHERE is_active = true",
        "different index public.idx_users_role",
    ),
    "adds an index": (
        "CREATE INDEX mine ON public.users (display_name)",
        "DROP INDEX public.mine",
        "extra index public.mine",
    ),
    "adds a column": (
        "ALTER TABLE public.users ADD COLUMN note text",
        "ALTER TABLE public.users DROP COLUMN note",
        "extra column public.users.note",
    ),
    "changes a column's type": (
        "ALTER TABLE public.teams ALTER COLUMN name TYPE varchar(300)",
        "ALTER TABLE public.teams ALTER COLUMN name TYPE varchar(255)",
        "different column public.teams.name",
    ),
    "drops a default": (
        "ALTER TABLE public.users ALTER COLUMN role DROP DEFAULT",
        "ALTER TABLE public.users ALTER COLUMN role SET DEFAULT 'standard_user'",
        "different column public.users.role",
    ),
    "lets a column be NULL": (
        "ALTER TABLE public.users ALTER COLUMN email DROP NOT NULL",
        "ALTER TABLE public.users ALTER COLUMN email SET NOT NULL",
        "different column public.users.email",
    ),
    "adds a table": (
        "CREATE TABLE public.copy_of_users AS SELECT * FROM public.users",
        "DROP TABLE public.copy_of_users",
        "extra table public.copy_of_users",
    ),
    "weakens a CHECK": (
        "ALTER TABLE public.users DROP CONSTRAINT valid_role, "
        "ADD CONSTRAINT valid_role CHECK (role IN ('super_admin', 'team_admin', 'standard_user', 'god'))",
        "ALTER TABLE public.users DROP CONSTRAINT valid_role, "
        "ADD CONSTRAINT valid_role CHECK (role IN ('super_admin', 'team_admin', 'standard_user'))",
        "different constraint valid_role on public.users",
    ),
    "drops a CHECK": (
        "ALTER TABLE public.mcp_servers DROP CONSTRAINT valid_catalog_type",
        "ALTER TABLE public.mcp_servers ADD CONSTRAINT valid_catalog_type "
        "CHECK (catalog_type IN ('predefined', 'custom'))",
        "missing constraint valid_catalog_type on public.mcp_servers",
    ),
    "leaves a CHECK unvalidated": (
        "ALTER TABLE public.mcp_servers DROP CONSTRAINT valid_catalog_type, ADD CONSTRAINT valid_catalog_type "
        "CHECK (catalog_type IN ('predefined', 'custom')) NOT VALID",
        "ALTER TABLE public.mcp_servers VALIDATE CONSTRAINT valid_catalog_type",
        "different constraint valid_catalog_type on public.mcp_servers",
    ),
    "drops a unique constraint": (
        "ALTER TABLE public.user_server_configs DROP CONSTRAINT unique_user_server",
        "ALTER TABLE public.user_server_configs ADD CONSTRAINT unique_user_server UNIQUE (user_id, server_id)",
        "missing constraint unique_user_server on public.user_server_configs",
    ),
    "weakens a foreign key": (
        "ALTER TABLE public.user_sessions DROP CONSTRAINT user_sessions_user_id_fkey, "
        "ADD CONSTRAINT user_sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users (id)",
        "ALTER TABLE public.user_sessions DROP CONSTRAINT user_sessions_user_id_fkey, "
        "ADD CONSTRAINT user_sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users (id) "
        "ON DELETE CASCADE",
        "different constraint user_sessions_user_id_fkey on public.user_sessions",
    ),
    "disables the triggers of foreign keys": (
        "ALTER TABLE public.user_sessions DISABLE TRIGGER ALL",
        "ALTER TABLE public.user_sessions ENABLE TRIGGER ALL",
        "different constraint user_sessions_user_id_fkey on public.user_sessions",
    ),
    "opens a policy": (
        "ALTER POLICY users_self_update ON public.users USING (true)",
        "ALTER POLICY users_self_update ON public.users USING (id = (SELECT r.user_id FROM public.app_reach AS r))",
        "different policy users_self_update on public.users",
    ),
    "gives a policy to PUBLIC": (
        "ALTER POLICY users_self_update ON public.users TO PUBLIC",
        "ALTER POLICY users_self_update ON public.users TO portal_app",
        "different policy users_self_update on public.users",
    ),
    "drops a policy": (
        "DROP POLICY users_api_read ON public.users",
        "CREATE POLICY users_api_read ON public.users FOR SELECT TO portal_api USING (true); "
        "COMMENT ON POLICY users_api_read ON public.users IS "
        "'The functions of portal_api look users up before there is a context.'",
        "missing policy users_api_read on public.users",
    ),
    "adds a policy": (
        "CREATE POLICY debug ON public.user_sessions USING (true)",
        "DROP POLICY debug ON public.user_sessions",
        "extra policy debug on public.user_sessions",
    ),
    "switches Row-Level Security off": (
        "ALTER TABLE public.users DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE public.users ENABLE ROW LEVEL SECURITY",
        "different row security of public.users",
    ),
    "takes FORCE away": (
        "ALTER TABLE public.users NO FORCE ROW LEVEL SECURITY",
        "ALTER TABLE public.users FORCE ROW LEVEL SECURITY",
        "different row security for the owner of public.users",
    ),
    "grants on a table": (
        "GRANT DELETE ON public.users TO portal_app",
        "REVOKE DELETE ON public.users FROM portal_app",
        "extra grant DELETE on table public.users to portal_app",
    ),
    "grants a column": (
        "GRANT UPDATE (role) ON public.users TO portal_app",
        "REVOKE UPDATE (role) ON public.users FROM portal_app",
        "extra grant UPDATE on column public.users.role to portal_app",
    ),
    "grants to PUBLIC": (
        "GRANT SELECT ON public.user_sessions TO PUBLIC",
        "REVOKE SELECT ON public.user_sessions FROM PUBLIC",
        "extra grant SELECT on table public.user_sessions to PUBLIC",
    ),
    "lets a grant be handed on": (
        "GRANT SELECT ON public.teams TO portal_app WITH GRANT OPTION",
        "REVOKE GRANT OPTION FOR SELECT ON public.teams FROM portal_app",
        "different grant SELECT on table public.teams to portal_app",
    ),
    "revokes a grant": (
        "REVOKE SELECT ON public.teams FROM portal_app",
        "GRANT SELECT ON public.teams TO portal_app",
        "missing grant SELECT on table public.teams to portal_app",
    ),
    "takes a right from the owner": (
        "REVOKE UPDATE ON public.teams FROM mcp_admin",
        "GRANT UPDATE ON public.teams TO mcp_admin",
        "extra rights of the owner on table public.teams",
    ),
    "grants on the schema": (
        "GRANT CREATE ON SCHEMA public TO portal_app",
        "REVOKE CREATE ON SCHEMA public FROM portal_app",
        "extra grant CREATE on schema public to portal_app",
    ),
    "grants on the record of migrations": (
        "GRANT DELETE ON public._yoyo_migration TO portal_app",
        "REVOKE DELETE ON public._yoyo_migration FROM portal_app",
        "extra grant DELETE on the record of migrations to portal_app",
    ),
    "lets a function be executed": (
        "GRANT EXECUTE ON FUNCTION public.cleanup_expired_sessions() TO PUBLIC",
        "REVOKE EXECUTE ON FUNCTION public.cleanup_expired_sessions() FROM PUBLIC",
        "extra grant EXECUTE on function public.cleanup_expired_sessions() to PUBLIC",
    ),
    "grants on the system": (
        "GRANT EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) TO portal_app",
        "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_read_file(text) FROM portal_app",
        "extra grant EXECUTE on function pg_read_file(text) to portal_app",
    ),
    "grants a parameter": (
        "GRANT SET ON PARAMETER session_replication_role TO portal_app",
        "REVOKE SET ON PARAMETER session_replication_role FROM portal_app",
        "extra grant SET on parameter session_replication_role to portal_app",
    ),
    "changes default privileges": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE mcp_admin IN SCHEMA public GRANT SELECT ON TABLES TO portal_app",
        "ALTER DEFAULT PRIVILEGES FOR ROLE mcp_admin IN SCHEMA public REVOKE SELECT ON TABLES FROM portal_app",
        "extra default privileges of mcp_admin on tables in schema public",
    ),
    "gives PUBLIC new functions again": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE mcp_admin GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
        "ALTER DEFAULT PRIVILEGES FOR ROLE mcp_admin REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC",
        "missing default privileges of mcp_admin on functions",
    ),
    "lets a role past Row-Level Security": (
        "ALTER ROLE portal_app BYPASSRLS",
        "ALTER ROLE portal_app NOBYPASSRLS",
        "extra attribute BYPASSRLS of role portal_app",
    ),
    "makes a superuser": (
        "ALTER ROLE portal_runner SUPERUSER",
        "ALTER ROLE portal_runner NOSUPERUSER",
        "extra attribute SUPERUSER of role portal_runner",
    ),
    "gives a role a login": (
        "ALTER ROLE portal_api LOGIN",
        "ALTER ROLE portal_api NOLOGIN",
        "extra attribute LOGIN of role portal_api",
    ),
    "takes a role's login": (
        "ALTER ROLE portal_maintenance NOLOGIN",
        "ALTER ROLE portal_maintenance LOGIN",
        "missing attribute LOGIN of role portal_maintenance",
    ),
    "makes a member of the owner": (
        "GRANT mcp_admin TO portal_app",
        "REVOKE mcp_admin FROM portal_app",
        "extra membership of portal_app in mcp_admin",
    ),
    "makes a member of a built-in role": (
        "GRANT pg_read_all_data TO portal_app",
        "REVOKE pg_read_all_data FROM portal_app",
        "extra membership of portal_app in pg_read_all_data",
    ),
    "gives a role a search path": (
        "ALTER ROLE portal_app SET search_path = evil, public",
        "ALTER ROLE portal_app RESET search_path",
        "extra setting search_path of role portal_app",
    ),
    "gives the database a context": (
        "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET app.current_user_id = %L', current_database(), 'x'); END$$",
        "DO $$BEGIN EXECUTE format('ALTER DATABASE %I RESET app.current_user_id', current_database()); END$$",
        "extra setting app.current_user_id of every role in this database",
    ),
    "lets everyone connect": (
        "DO $$BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO PUBLIC', current_database()); END$$",
        "DO $$BEGIN EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database()); END$$",
        "extra grant CONNECT on database to PUBLIC",
    ),
    "lets everyone make temporary tables": (
        "DO $$BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO PUBLIC', current_database()); END$$",
        "DO $$BEGIN EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database()); END$$",
        "extra grant TEMPORARY on database to PUBLIC",
    ),
    "changes a body": (
        "CREATE OR REPLACE FUNCTION public.update_updated_at() RETURNS trigger LANGUAGE plpgsql "
        "SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN NEW; END'",
        "{function public.update_updated_at()}",
        "different function public.update_updated_at()",
    ),
    "takes a function's search path": (
        "ALTER FUNCTION public.app_team_ids() RESET search_path",
        "ALTER FUNCTION public.app_team_ids() SET search_path = pg_catalog, pg_temp",
        "different function public.app_team_ids()",
    ),
    "makes a function a definer": (
        "ALTER FUNCTION public.update_updated_at() SECURITY DEFINER",
        "ALTER FUNCTION public.update_updated_at() SECURITY INVOKER",
        "different function public.update_updated_at()",
    ),
    "makes a function leakproof": (
        "ALTER FUNCTION public.current_app_user_id() LEAKPROOF",
        "ALTER FUNCTION public.current_app_user_id() NOT LEAKPROOF",
        "different function public.current_app_user_id()",
    ),
    "makes a function volatile": (
        "ALTER FUNCTION public.app_team_ids() VOLATILE",
        "ALTER FUNCTION public.app_team_ids() STABLE",
        "different function public.app_team_ids()",
    ),
    "adds a function": (
        "CREATE FUNCTION public.become() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
        "DROP FUNCTION public.become()",
        "extra function public.become()",
    ),
    "hands a function over": (
        "ALTER FUNCTION public.app_team_ids() OWNER TO mcp_admin",
        "ALTER FUNCTION public.app_team_ids() OWNER TO portal_api",
        "different owner of function public.app_team_ids()",
    ),
    "hands a table over": (
        "ALTER TABLE public.teams OWNER TO postgres",
        "ALTER TABLE public.teams OWNER TO mcp_admin",
        "different owner of table public.teams",
    ),
    "disables a trigger": (
        "ALTER TABLE public.users DISABLE TRIGGER update_users_updated_at",
        "ALTER TABLE public.users ENABLE TRIGGER update_users_updated_at",
        "different trigger update_users_updated_at on public.users",
    ),
    "adds a trigger": (
        "CREATE TRIGGER mine BEFORE INSERT ON public.users FOR EACH ROW EXECUTE FUNCTION public.update_updated_at()",
        "DROP TRIGGER mine ON public.users",
        "extra trigger mine on public.users",
    ),
    "adds a rule": (
        "CREATE RULE nothing AS ON DELETE TO public.teams DO INSTEAD NOTHING",
        "DROP RULE nothing ON public.teams",
        "extra rule nothing on public.teams",
    ),
    "lets a view read as its owner": (
        "ALTER VIEW public.user_dashboard RESET (security_invoker)",
        "ALTER VIEW public.user_dashboard SET (security_invoker = on)",
        "different view public.user_dashboard",
    ),
    "adds a view": (
        "CREATE VIEW public.everyone AS SELECT email FROM public.users",
        "DROP VIEW public.everyone",
        "extra view public.everyone",
    ),
    "adds a sequence": (
        "CREATE SEQUENCE public.mine",
        "DROP SEQUENCE public.mine",
        "extra sequence public.mine",
    ),
    "adds a domain": (
        "CREATE DOMAIN public.uuid AS pg_catalog.uuid CHECK (true)",
        "DROP DOMAIN public.uuid",
        "extra domain public.uuid",
    ),
    "adds an operator": (
        "CREATE OPERATOR public.=== (FUNCTION = pg_catalog.uuid_eq, LEFTARG = uuid, RIGHTARG = uuid)",
        "DROP OPERATOR public.=== (uuid, uuid)",
        "extra operator public.===(uuid,uuid)",
    ),
    "adds a schema": (
        "CREATE SCHEMA evil",
        "DROP SCHEMA evil",
        "extra schema evil",
    ),
    "adds an event trigger": (
        "CREATE FUNCTION public.spy() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; "
        "CREATE EVENT TRIGGER spy ON ddl_command_end EXECUTE FUNCTION public.spy()",
        "DROP EVENT TRIGGER spy; DROP FUNCTION public.spy()",
        "extra event trigger spy",
    ),
    "publishes every table": (
        "CREATE PUBLICATION leak FOR ALL TABLES",
        "DROP PUBLICATION leak",
        "extra publication leak",
    ),
    "changes a comment": (
        "COMMENT ON TABLE public.teams IS 'Something else.'",
        "COMMENT ON TABLE public.teams IS 'Teams of users.'",
        "different comment on table public.teams",
    ),
    "pauses a job": (
        "UPDATE public.jobs SET is_active = false WHERE name = 'cleanup-sessions'",
        "UPDATE public.jobs SET is_active = true WHERE name = 'cleanup-sessions'",
        "different job cleanup-sessions",
    ),
    "makes a table that no crash survives": (
        "ALTER TABLE public.job_runs SET UNLOGGED",
        "ALTER TABLE public.job_runs SET LOGGED",
        "different table public.job_runs",
    ),
    "opens a partition": (
        "ALTER TABLE public.audit_logs_2024_01 DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE public.audit_logs_2024_01 ENABLE ROW LEVEL SECURITY",
        "different row security of public.audit_logs_2024_01",
    ),
    "grants on a partition": (
        "GRANT SELECT ON public.audit_logs_default TO portal_app",
        "REVOKE SELECT ON public.audit_logs_default FROM portal_app",
        "extra grant SELECT on partition public.audit_logs_default to portal_app",
    ),
    "adds an index to one partition": (
        "CREATE INDEX mine ON public.audit_logs_2024_01 (session_id)",
        "DROP INDEX public.mine",
        "different partition public.audit_logs_2024_01",
    ),
    "adds a CHECK to one partition": (
        "ALTER TABLE public.audit_logs_2024_01 ADD CONSTRAINT mine CHECK (session_id IS NULL)",
        "ALTER TABLE public.audit_logs_2024_01 DROP CONSTRAINT mine",
        "different partition public.audit_logs_2024_01",
    ),
    "moves a partition's bounds": (
        "ALTER TABLE public.audit_logs DETACH PARTITION public.audit_logs_2024_02; ALTER TABLE public.audit_logs "
        "ATTACH PARTITION public.audit_logs_2024_02 FOR VALUES FROM ('2024-02-01 01:00+00') TO ('2024-03-01 00:00+00')",
        "ALTER TABLE public.audit_logs DETACH PARTITION public.audit_logs_2024_02; ALTER TABLE public.audit_logs "
        "ATTACH PARTITION public.audit_logs_2024_02 FOR VALUES FROM ('2024-02-01 00:00+00') TO ('2024-03-01 00:00+00')",
        "different partition public.audit_logs_2024_02",
    ),
    "adds a partition of another name": (
        "CREATE TABLE public.audit_logs_mine PARTITION OF public.audit_logs "
        "FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2020-02-01 00:00+00')",
        "DROP TABLE public.audit_logs_mine",
        "extra partition public.audit_logs_mine",
    ),
}


@pytest.fixture(scope="module")
def migrated(server: str, templates: Callable[[str], str]) -> Iterator[str]:
    """Make one database for the changes, each of which is undone."""
    name = f"drift_{secrets.token_hex(4)}"
    copy_database(server, templates("migrate"), name)
    yield conninfo.make_conninfo(server, dbname=name)
    drop_database(server, name)


def found(url: str) -> list[str]:
    """Return what drift finds, each as `missing index public.x`."""
    with connect(url) as connection, reading(connection):
        outcome = drift.look(connection, read(sql_root()))
    return [f"{each.change} {each.thing.key}" for each in outcome.differences]


def execute(url: str, statements: str) -> None:
    """Run SQL as the URL's login, statement by statement."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statements.encode())


@pytest.mark.parametrize("change", CHANGES)
def test_drift_finds_a_change(migrated: str, change: str) -> None:
    """Somebody changes the catalog by hand: it is named, and once undone nothing is left to name."""
    done, undone, named = CHANGES[change]
    if undone.startswith("{"):
        thing = manifest.for_server(150000).at("9999")[undone.strip("{}")]
        undone = thing.definition
    try:
        execute(migrated, done)
        assert named in found(migrated)
    finally:
        execute(migrated, undone)
    assert found(migrated) == []


def test_drift_command_reports(make_database: MakeDatabase, portaldb: Portaldb) -> None:
    """The report names each finding, its migration, both forms, and the exit code is 1; --ignore leaves one out."""
    url = make_database(migrate=True)
    clean = portaldb("drift", database=url)
    assert clean.returncode == 0, clean.stdout + clean.stderr
    assert "no drift" in clean.stdout
    execute(
        url,
        "ALTER POLICY users_self_update ON public.users USING (true); DROP INDEX public.idx_users_email; "
        "GRANT ALL ON public.users TO portal_app; CREATE TABLE public.mine (id int)",
    )
    done = portaldb("drift", database=url)
    assert done.returncode == 1
    assert "policy users_self_update on public.users   (0034_reach)" in done.stdout
    assert "+    USING (true)" in done.stdout
    assert "index public.idx_users_email   (0004_users)" in done.stdout
    assert "grant DELETE, INSERT, " in done.stdout
    assert "table public.mine, and 4 things that belong to it" in done.stdout
    told = json.loads(portaldb("drift", "--json", database=url).stdout)
    assert not told["clean"]
    assert {"change": "missing", "kind": "index", "name": "public.idx_users_email"}.items() <= next(
        each.items() for each in told["findings"] if each["kind"] == "index"
    )
    ignored = ["policy *", "index *", "grant * on table public.users to portal_app", "*public.mine*"]
    left = portaldb("drift", *(f"--ignore={each}" for each in ignored), database=url)
    assert left.returncode == 0, left.stdout


def test_drift_sees_pg_cron(make_database: MakeDatabase, portaldb: Portaldb) -> None:
    """A job taken out of pg_cron, changed there, or scheduled beside the registry is found."""
    url = make_database("mcp_portal", migrate=True)
    assert found(url) == []
    execute(url, "SELECT cron.unschedule(jobid) FROM cron.job WHERE jobname = 'cleanup-sessions'")
    execute(url, "UPDATE cron.job SET schedule = '0 3 * * *' WHERE jobname = 'cleanup-audit-logs'")
    execute(url, "SET ROLE portal_maintenance; SELECT cron.schedule('mine', '* * * * *', 'SELECT 1')")
    assert found(url) == [
        "different cron job cleanup-audit-logs",
        "missing cron job cleanup-sessions",
        "extra cron job mine",
    ]
    execute(url, "SET ROLE mcp_admin; SELECT public.sync_cron_jobs()")
    assert found(url) == []


# Nothing is found where nothing was changed --------------------------------------------------------------


def test_drift_finds_nothing_after_a_dump_and_restore(
    make_database: MakeDatabase, portaldb: Portaldb, pg_dump: Callable[..., str], server: str
) -> None:
    """A restored database is the same, though the server spells some of it in other words."""
    url, restored = make_database(migrate=True), make_database(init=True)
    # As the spec writes it: IN over varchar is what comes back in other words.
    execute(
        url,
        "ALTER TABLE public.users DROP CONSTRAINT valid_role, "
        "ADD CONSTRAINT valid_role CHECK (role IN ('super_admin', 'team_admin', 'standard_user'))",
    )
    assert found(url) == []
    dump = pg_dump(url, "--schema-only", "--no-publications") + pg_dump(
        url, "--data-only", "--inserts", "-t", "_yoyo*", "-t", "_portaldb*", "-t", "jobs", "-t", "mcp_servers"
    )
    with psycopg.connect(restored, autocommit=True) as connection:
        connection.execute(dump.encode())
    assert found(restored) == []


def test_drift_finds_nothing_after_down_and_up(make_database: MakeDatabase, portaldb: Portaldb) -> None:
    """At every level in between it is clean too: what is pending is not expected."""
    url = make_database(migrate=True)
    for steps in (1, 9, 7):
        portaldb("rollback", "--steps", str(steps), "--yes", database=url, check=True)
        assert found(url) == []
    portaldb("rollback", "--to", "0", "--yes", database=url, check=True)
    assert found(url) == []
    portaldb("migrate", database=url, check=True)
    assert found(url) == []


def test_drift_finds_nothing_where_init_was_no_superusers(portaldb: Portaldb) -> None:
    """On a managed server some of init is forbidden; that is said then, and is no drift for ever after."""
    managed = Cluster.create_throwaway()
    try:
        execute(managed.url("postgres"), "CREATE ROLE administrator LOGIN CREATEROLE CREATEDB PASSWORD 'made up'")
        host = {"host": "127.0.0.1", "user": "administrator", "password": "made up"}
        url = conninfo.make_conninfo(managed.url("mcp_portal"), **host)
        portaldb("init", database=url, check=True)
        portaldb("migrate", database=url, check=True)
        portaldb("drift", database=url, check=True)
    finally:
        managed.destroy()


def test_drift_allows_the_partitions_of_the_job(make_database: MakeDatabase) -> None:
    """The job makes the months ahead, retention drops old ones: neither is drift."""
    url = make_database(migrate=True)
    execute(url, "SET ROLE portal_maintenance; SELECT public.ensure_audit_partitions(12)")
    execute(url, "DROP TABLE public.audit_logs_2024_01, public.audit_logs_2024_02")
    assert found(url) == []
    execute(url, "DROP TABLE public.audit_logs_default CASCADE")
    assert "missing partition public.audit_logs_default" in found(url)


def test_drift_allows_what_belongs_to_operators(make_database: MakeDatabase, login: Login) -> None:
    """Logins in our roles, tuning, statistics, other extensions and a backup's login are no drift."""
    url = make_database(migrate=True)
    login(url, "portal_app")
    login(url, "mcp_admin")
    execute(
        url,
        "ALTER TABLE public.users SET (autovacuum_vacuum_scale_factor = 0.01); "
        "ALTER TABLE public.users ALTER COLUMN email SET STATISTICS 500; "
        "ALTER TABLE public.users CLUSTER ON users_pkey; "
        "CREATE EXTENSION pg_trgm; ALTER ROLE portal_app SET statement_timeout = '5s'; ALTER ROLE portal_backup LOGIN",
    )
    try:
        assert found(url) == []
    finally:
        execute(url, "ALTER ROLE portal_app RESET statement_timeout; ALTER ROLE portal_backup NOLOGIN")


@pytest.mark.parametrize(
    "settings",
    [
        "SET search_path = pg_temp, information_schema, public",
        "SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'German, DMY'; SET IntervalStyle = 'iso_8601'",
        "SET quote_all_identifiers = on; SET bytea_output = 'escape'; SET extra_float_digits = -3",
        "SET default_transaction_isolation = 'serializable'; SET default_transaction_read_only = on",
    ],
)
def test_drift_does_not_depend_on_the_session(migrated: str, settings: str) -> None:
    """Whatever the session is set to, the server is made to spell things in one way, and the setting stays."""
    with connect(migrated) as connection:
        connection.execute(settings.encode())
        before = connection.execute("SELECT current_setting('search_path') AS path").fetchone()
        snapshot = catalog.read(connection)
        expected = manifest.for_server(snapshot.version).at("9999")
        assert drift.compare(expected, snapshot) == []
        assert connection.execute("SELECT current_setting('search_path') AS path").fetchone() == before


def test_drift_works_for_a_monitoring_login(make_database: MakeDatabase, login: Login, portaldb: Portaldb) -> None:
    """portal_monitor needs no right but its own; what it cannot see is said and not judged."""
    url = make_database(migrate=True)
    monitor = login(url, "portal_monitor")
    done = portaldb("drift", database=monitor)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Not compared: jobs, because this login may not read public.jobs." in done.stdout
    execute(url, "ALTER TABLE public.users NO FORCE ROW LEVEL SECURITY")
    assert found(monitor) == ["different row security for the owner of public.users"]


def test_drift_reads_the_catalog_quickly(migrated: str) -> None:
    """One snapshot takes well under 300 ms, and locks nothing that a migration needs."""
    import time

    with connect(migrated) as connection:
        times = []
        for _ in range(5):
            began = time.monotonic()
            things = catalog.read(connection).things
            times.append(time.monotonic() - began)
    assert len(things) > 400
    assert sorted(times)[2] < 0.3


# Where it cannot know -------------------------------------------------------------------------------------


def test_drift_refuses_an_unclean_record(make_database: MakeDatabase, portaldb: Portaldb) -> None:
    """A record that does not say what is applied makes any comparison a guess."""
    url = make_database(migrate=True)
    execute(url, "UPDATE public._portaldb_migration SET checksum = 'x' WHERE migration_id LIKE '0004%'")
    assert "0004_users is edited" in paragraph(portaldb("drift", database=url), 4)


def test_drift_refuses_a_stale_manifest(make_database: MakeDatabase, tmp_path: object) -> None:
    """Where the manifest was made from other files, nothing is compared, and the way to a new one is said."""
    from pathlib import Path

    from portaldb.errors import RefusedError

    root = series(Path(str(tmp_path)), {"0001_thing": "CREATE TABLE public.thing (id int);"})
    with pytest.raises(RefusedError, match="portaldb manifest --write"):
        manifest.require_current(manifest.for_server(150000), read(root), "0001_thing")


def test_drift_says_baseline_where_nothing_is_recorded(make_database: MakeDatabase, portaldb: Portaldb) -> None:
    """A database with tables and no record is one for `baseline`."""
    url = make_database()
    assert found(url) == []
    execute(url, "CREATE TABLE public.users (id uuid)")
    done = portaldb("drift", database=url)
    assert done.returncode == 1
    assert "portaldb baseline" in done.stderr


def test_drift_uses_the_nearest_older_list() -> None:
    """A server newer than the release is compared with the newest list there is; an older one is refused."""
    from portaldb.errors import RefusedError

    newest = manifest.shipped()[-1]
    assert manifest.for_server(990000).major == newest
    with pytest.raises(RefusedError, match="newer server"):
        manifest.for_server(140000)


# The parts ------------------------------------------------------------------------------------------------


def test_manifest_is_current(server: str, portaldb: Portaldb) -> None:
    """The shipped list for this server's major version is what the migrations make."""
    done = portaldb("manifest", database=server)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (
            "CHECK (((role)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[])))",
            "CHECK (((role)::text = ANY (ARRAY[('a'::character varying)::text, ('b'::character varying)::text])))",
            True,
        ),
        ("CHECK ((role = ANY (ARRAY['a'::text])))", "CHECK (role = ANY (ARRAY['a']))", True),
        ("CHECK ((role = ANY (ARRAY['a'::text])))", "CHECK ((role = ANY (ARRAY['a'::text, 'b'::text])))", False),
        ("CHECK ((role = 'a'::text))", "CHECK ((role = 'a'::bpchar))", False),
        ("CHECK ((role = 'abc'::text))", "CHECK ((role = ('abc'::character varying(1))))", False),
        ("CHECK ((role = 'a'))", "CHECK ((role <> 'a'))", False),
        ("CHECK ((role)::text = 'a')", "CHECK (role = 'a')", False),
        ("CHECK (true)", "CHECK (true) NOT VALID", False),
        ("CHECK (true)", "CHECK (true) /* its triggers are disabled */", False),
        ("CHECK (not parsable", "CHECK (not parsable either", False),
    ],
)
def test_ddl_same_folds_only_what_means_nothing(one: str, other: str, same: bool) -> None:
    """A cast to text of a string, in a list or alone, is no difference; everything else is."""
    things = [Thing("constraint", "c on public.t", each, "table public.t", "c") for each in (one, other)]
    assert ddl.same(*things) is same


def test_drift_compare_reports_each_way() -> None:
    """Missing, different and extra, in this order, with the migration that made what is expected."""
    expected = {each.key: each for each in (Thing("index", "a", "x"), Thing("index", "b", "x"))}
    there = {each.key: each for each in (Thing("index", "b", "y"), Thing("index", "c", "x"))}
    snapshot = catalog.Snapshot(150000, there, {})
    differences = drift.compare(expected, snapshot, {"index a": "0001_a"})
    assert [(each.change, each.thing.name, each.migration) for each in differences] == [
        (Change.DIFFERENT, "b", None),
        (Change.MISSING, "a", "0001_a"),
        (Change.EXTRA, "c", None),
    ]
