"""`portaldb baseline`: a database built by hand comes under the migrations, and no row is lost on the way."""

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from conftest import ROOT, MakeDatabase, Portaldb, copy_database, drop_database
from psycopg import conninfo, sql
from support import ask, one, paragraph
from test_drift import CHANGES, execute, found

from portaldb import catalog, drift, manifest, reconcile
from portaldb.database import connect
from portaldb.layout import sql_root
from portaldb.source import read

BY_HAND = (ROOT / "tests/py/data/spec_by_hand.sql").read_text()
ENVELOPE = (
    "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoiTWJ1OHVWTnpvemJRT3c3aGtWbjBLTGVsWWNvSGlUdmt2YWt5Z0lKc01RcyIsImN0eSI6InRleHQvcGxhaW47Y3R4PW5vbmUifQ"
    "..IaF6jT5OGv9M3QSqBiou2g.auDvED71DvHs7cTsX0Wjxw"
    ".zPQsCXQuoTheHIZfRveexYNrHAQ12rULo-bfKMb-YAg"
)
"""A value as the SQL functions make it, bound to no row."""
ROWS = f"""
INSERT INTO users (id, azure_oid, email, role) VALUES
    ('a0000000-0000-0000-0000-000000000001', 'alpha', 'alpha@example.org', 'team_admin'),
    ('b0000000-0000-0000-0000-000000000001', 'beta', 'beta@example.org', 'standard_user');
DELETE FROM mcp_servers WHERE name IN ('slack', 'jira');
UPDATE mcp_servers SET image = 'ours/github:1' WHERE name = 'github';
INSERT INTO mcp_servers (name, image, catalog_type, created_by, tags) VALUES
    ('own', 'ours/own:1', 'custom', 'a0000000-0000-0000-0000-000000000001', ARRAY['x']);
INSERT INTO user_server_configs (user_id, server_id, enabled, container_state, encrypted_config)
    SELECT u.id, s.id, true, 'running', '{ENVELOPE}'
    FROM users AS u, mcp_servers AS s;
INSERT INTO user_sessions (user_id, session_token, expires_at)
    SELECT u.id, 'token ' || u.azure_oid, now() + interval '1 day' FROM users AS u;
INSERT INTO audit_logs (user_id, action, timestamp) VALUES
    ('a0000000-0000-0000-0000-000000000001', 'login', '2024-01-01 00:00:00+00'),
    ('a0000000-0000-0000-0000-000000000001', 'login', '2024-01-15 12:00:00+00'),
    (NULL, 'logout', '2024-02-29 12:00:00+00');
INSERT INTO teams (id, name, created_by) VALUES
    ('c0000000-0000-0000-0000-000000000001', 'team', 'a0000000-0000-0000-0000-000000000001');
INSERT INTO team_members (team_id, user_id) SELECT t.id, u.id FROM teams AS t, users AS u;
"""
TABLES = ("users", "mcp_servers", "user_server_configs", "audit_logs", "user_sessions", "teams", "team_members")


def build(make: MakeDatabase, server: str, owner: str = "postgres", name: str | None = None, zone: str = "UTC") -> str:
    """Make a database as the schema document says, with rows in every table, and let nobody but `owner` do it."""
    url = make(name, init=False)
    database = str(conninfo.conninfo_to_dict(url)["dbname"])
    statements = BY_HAND.replace("DATABASE mcp_portal", f"DATABASE {database}")
    with psycopg.connect(server, autocommit=True) as connection:
        for role in ("mcp_admin", "portal_app"):
            if not connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [role]).rowcount:
                connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
        connection.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(database), sql.Identifier(owner))
        )
    statements = statements.replace("CREATE ROLE portal_app;", "")
    if owner != "postgres":
        # Only a superuser may; init adds it later.
        statements = statements.replace('CREATE EXTENSION IF NOT EXISTS "pg_stat_statements";', "")
    execute(url, f"SET ROLE {owner}; SET TimeZone = '{zone}'; {statements}")
    execute(url, f"SET TimeZone = 'UTC'; {ROWS}")
    return url


def rows(url: str) -> dict[str, list[str]]:
    """Return every row of every table of the schema document, as text; without NULLs, as in columns that come later."""
    found = "SELECT jsonb_strip_nulls(to_jsonb(t))::text FROM public.{} AS t ORDER BY 1"
    return {table: ask(url, found.format(table)) for table in TABLES}


def is_under_the_migrations(url: str, portaldb: Portaldb) -> None:
    """Fail unless every command says that this database is as `migrate` would have made it."""
    portaldb("status", "--check", database=url, check=True)
    portaldb("drift", database=url, check=True)
    assert "Nothing to do" in portaldb("migrate", database=url, check=True).stdout


@pytest.mark.parametrize(("owner", "zone"), [("postgres", "UTC"), ("mcp_admin", "UTC"), ("postgres", "Europe/Berlin")])
def test_baseline_adopts_what_the_schema_document_makes(
    make_database: MakeDatabase, server: str, portaldb: Portaldb, tmp_path: Path, owner: str, zone: str
) -> None:
    """Compared, written, read, applied: every command is content then, every row is there, and GRANT ALL is gone."""
    url = build(make_database, server, owner, zone=zone)
    portaldb("init", database=url, check=True)
    before, script = rows(url), tmp_path / "reconcile.sql"

    compared = portaldb("baseline", "--output", str(script), database=url)
    assert compared.returncode == 1, compared.stdout + compared.stderr
    assert "0004_users" in compared.stdout
    assert rows(url) == before
    assert one(url, "SELECT has_table_privilege('portal_app', 'public.users', 'DELETE')")

    applied = portaldb("baseline", "--apply", str(script), database=url)
    assert applied.returncode == 0, applied.stderr
    is_under_the_migrations(url, portaldb)
    after = rows(url)
    for table in TABLES:
        assert set(before[table]) <= set(after[table]), table
    assert len(after["mcp_servers"]) == len(before["mcp_servers"]) + 2  # the two seeds that were deleted
    assert one(url, "SELECT image FROM public.mcp_servers WHERE name = 'github'") == "ours/github:1"
    assert not one(url, "SELECT has_table_privilege('portal_app', 'public.users', 'DELETE')")
    assert "nothing to adopt" in paragraph(portaldb("baseline", database=url), 4)


def test_baseline_leaves_a_database_that_passes_every_pgtap_test(
    make_database: MakeDatabase, server: str, portaldb: Portaldb, tmp_path: Path
) -> None:
    """The SQL's own tests hold on an adopted database too."""
    url = build(make_database, server, name="mcp_portal")
    execute(url, "; ".join(f"TRUNCATE public.{table} CASCADE" for table in TABLES if table != "mcp_servers"))
    execute(url, "DELETE FROM public.mcp_servers WHERE catalog_type = 'custom'")
    execute(url, "UPDATE public.mcp_servers SET image = 'docker/mcp-github:latest' WHERE name = 'github'")
    portaldb("init", database=url, check=True)
    script = str(tmp_path / "reconcile.sql")
    portaldb("baseline", "--output", script, database=url)
    portaldb("baseline", "--apply", script, database=url, check=True)
    is_under_the_migrations(url, portaldb)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE", "password": "PGPASSWORD"}
    parts = conninfo.conninfo_to_dict(url)
    done = subprocess.run(
        ["pg_prove", "-Q", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("tests/sql/*.sql"))],
        env=dict(os.environ) | {names[key]: str(value) for key, value in parts.items() if key in names},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_baseline_says_which_values_are_to_be_encrypted_first(
    make_database: MakeDatabase, server: str, portaldb: Portaldb, tmp_path: Path
) -> None:
    """Rows in the old format and in plain text are counted, by both forms of the command; once converted, it adopts."""
    url = build(make_database, server)
    execute(
        url,
        "UPDATE user_server_configs SET encrypted_config = encrypt_sensitive_data('x', 'k') WHERE user_id IN "
        "(SELECT id FROM users WHERE azure_oid = 'alpha'); UPDATE user_server_configs SET encrypted_config = 'plain' "
        "WHERE id = (SELECT min(id::text)::uuid FROM user_server_configs WHERE user_id IN "
        "(SELECT id FROM users WHERE azure_oid = 'beta'))",
    )
    old = int(one(url, "SELECT count(*) FROM user_server_configs WHERE encrypted_config NOT LIKE 'eyJ%'"))
    portaldb("init", database=url, check=True)
    script, before = tmp_path / "reconcile.sql", rows(url)
    compared = portaldb("baseline", "--output", str(script), database=url)
    assert compared.returncode == 4, compared.stderr
    assert f"in encrypted_config: {old}." in compared.stderr
    assert "`portaldb keys rotate --legacy-key FILE`" in compared.stderr
    said = paragraph(portaldb("baseline", "--apply", str(script), database=url), 4)
    assert f"in encrypted_config: {old}." in said
    assert "`portaldb keys rotate --legacy-key FILE`" in said
    assert rows(url) == before
    execute(url, f"UPDATE user_server_configs SET encrypted_config = '{ENVELOPE}'")
    portaldb("baseline", "--apply", str(script), database=url, check=True)
    is_under_the_migrations(url, portaldb)


def test_migrate_stops_before_it_shuts_out_values_that_are_there(
    make_database: MakeDatabase, portaldb: Portaldb
) -> None:
    """Old values that came before the trigger stop it at the constraint, in one paragraph; converted, it goes on."""
    url = make_database(migrate=True)
    portaldb("rollback", "--to", "41", "--yes", database=url, check=True)
    execute(
        url,
        "INSERT INTO public.users (azure_oid, email, role) VALUES ('a', 'a@example.org', 'standard_user'); "
        "INSERT INTO public.user_server_configs (user_id, server_id, encrypted_config) SELECT u.id, s.id, 'a secret' "
        "FROM public.users AS u, public.mcp_servers AS s WHERE s.name IN ('github', 'slack')",
    )
    said = paragraph(portaldb("migrate", database=url), 5)
    assert "rows of user_server_configs that hold plain text or the old format in encrypted_config: 2." in said
    assert "portaldb keys rotate --legacy-key FILE" in said
    assert "a secret" not in said
    assert "Mend the file" not in said
    execute(url, "UPDATE public.user_server_configs SET container_state = 'running'")
    execute(url, f"UPDATE public.user_server_configs SET encrypted_config = '{ENVELOPE}'")
    portaldb("migrate", database=url, check=True)
    is_under_the_migrations(url, portaldb)


def test_baseline_writes_a_script_and_nothing_else(
    make_database: MakeDatabase,
    server: str,
    portaldb: Portaldb,
    tmp_path: Path,
    pg_dump: Callable[..., str],
) -> None:
    """It never overwrites a script that somebody may have worked on, and says what would change in JSON too."""
    url = build(make_database, server)
    portaldb("init", database=url, check=True)
    before, script = pg_dump(url), tmp_path / "reconcile.sql"
    script.write_text("mine")
    assert "is there already" in paragraph(portaldb("baseline", "--output", str(script), database=url), 4)
    assert script.read_text() == "mine"
    done = portaldb("baseline", "--json", "--force", "--output", str(script), database=url)
    told = json.loads(done.stdout)
    assert not told["matches"]
    assert told["by_hand"] == []
    assert {"id": "0003_current_app_user_id", "state": "absent"}.items() <= told["migrations"][2].items()
    assert "SET LOCAL ROLE mcp_admin;" in script.read_text()
    assert pg_dump(url) == before


def test_baseline_rolls_back_a_script_that_does_not_suffice(
    make_database: MakeDatabase, server: str, portaldb: Portaldb, tmp_path: Path, pg_dump: Callable[..., str]
) -> None:
    """A statement taken out of the script, or one that fails: nothing stays, and what is left is named."""
    url = build(make_database, server)
    portaldb("init", database=url, check=True)
    before, script = pg_dump(url), tmp_path / "reconcile.sql"
    portaldb("baseline", "--output", str(script), database=url)
    whole = script.read_text()
    script.write_text(whole.replace("ALTER TABLE public.users FORCE ROW LEVEL SECURITY;", ""))
    done = portaldb("baseline", "--apply", str(script), database=url)
    assert done.returncode == 1
    assert "different: row security for the owner of public.users" in done.stderr
    script.write_text(whole + "\nSELECT 1 / 0;\n")
    done = portaldb("baseline", "--apply", str(script), database=url)
    assert done.returncode == 5
    assert "division by zero" in done.stderr
    script.write_text(whole + "\nCOMMIT;\n")
    assert portaldb("baseline", "--apply", str(script), database=url).returncode == 5
    assert pg_dump(url) == before
    assert "There is no file" in paragraph(portaldb("baseline", "--apply", "nowhere.sql", database=url), 4)


def test_baseline_drops_what_opens_and_keeps_what_holds_data(
    make_database: MakeDatabase, server: str, portaldb: Portaldb, tmp_path: Path
) -> None:
    """A leftover policy and grants go; a table, a column, a view of one's own stay, once they are named."""
    url = build(make_database, server)
    execute(
        url,
        "CREATE POLICY leftover ON users USING (true); GRANT SELECT ON user_sessions TO PUBLIC; "
        "GRANT UPDATE (role) ON users TO portal_app; ALTER TABLE users ADD COLUMN note text DEFAULT 'kept'; "
        "CREATE TABLE invoices (id int PRIMARY KEY); INSERT INTO invoices VALUES (1); "
        "CREATE VIEW everyone AS SELECT email FROM users; GRANT ALL ON invoices TO portal_app",
    )
    portaldb("init", database=url, check=True)
    script = tmp_path / "reconcile.sql"
    portaldb("baseline", "--output", str(script), database=url)
    text = script.read_text()
    assert "DROP POLICY leftover ON public.users;" in text
    for kept in ("table public.invoices", "column public.users.note", "view public.everyone"):
        assert f"-- {kept}\n" in text
    done = portaldb("baseline", "--apply", str(script), database=url)
    assert done.returncode == 1
    assert "extra: table public.invoices" in done.stderr
    ignored = [f"--ignore={name}" for name in ("table public.invoices", "column public.users.note", "view *")]
    portaldb("baseline", "--apply", str(script), *ignored, database=url, check=True)
    portaldb("drift", *ignored, database=url, check=True)
    assert found(url)[0] == "extra table public.invoices"
    assert ask(url, "SELECT DISTINCT note FROM public.users") == ["kept"]
    assert one(url, "SELECT count(*) FROM public.invoices") == 1


def test_baseline_says_what_it_cannot_mend(
    make_database: MakeDatabase, server: str, portaldb: Portaldb, tmp_path: Path
) -> None:
    """An audit trail without partitions is a person's work: said with the statements, exit code 4."""
    url = build(make_database, server)
    execute(
        url,
        "CREATE TABLE plain (LIKE audit_logs INCLUDING ALL); INSERT INTO plain SELECT * FROM audit_logs; "
        "DROP TABLE audit_logs; ALTER TABLE plain RENAME TO audit_logs",
    )
    portaldb("init", database=url, check=True)
    script = str(tmp_path / "reconcile.sql")
    done = portaldb("baseline", "--output", script, database=url)
    assert done.returncode == 4
    assert "table public.audit_logs is not partitioned here" in done.stderr
    # As the message says
    execute(url, "CREATE SCHEMA old; ALTER TABLE public.audit_logs SET SCHEMA old")
    ignored = ["--ignore=schema old", "--ignore=table old.audit_logs"]
    assert portaldb("baseline", "--force", "--output", script, *ignored, database=url).returncode == 1
    portaldb("baseline", "--apply", script, *ignored, database=url, check=True)
    execute(
        url,
        "INSERT INTO public.audit_logs (id, user_id, action, timestamp) "
        "SELECT id, user_id, action, timestamp FROM old.audit_logs",
    )
    assert one(url, "SELECT count(*) FROM public.audit_logs") == 3
    execute(url, "DROP SCHEMA old CASCADE")
    is_under_the_migrations(url, portaldb)


def by_psql(url: str, last: int) -> None:
    """Run the migrations up to a number as a person with psql would: without a record."""
    for migration in read(sql_root()):
        if migration.number <= last:
            # A person would not wait here either: nobody is at work.
            text = migration.script.text
            if not migration.script.transactional:
                text = text.replace(" CONCURRENTLY", "")
            execute(url, f"SET ROLE mcp_admin; SET search_path = public; {text}")


def test_baseline_marks_what_was_applied_by_hand(make_database: MakeDatabase, portaldb: Portaldb) -> None:
    """As far as all matches the migrations are recorded; `migrate` does the rest."""
    url = make_database()
    by_psql(url, 18)
    compared = portaldb("baseline", database=url)
    assert compared.returncode == 0, compared.stderr
    assert "up to 0018_teams_policies" in compared.stdout
    assert ask(url, "SELECT to_regclass('public._portaldb_migration')::text") == [None]
    assert "18 migrations adopted" in portaldb("baseline", "--yes", database=url, check=True).stdout
    portaldb("migrate", database=url, check=True)
    is_under_the_migrations(url, portaldb)


def test_baseline_brings_the_rows_that_no_catalog_shows(make_database: MakeDatabase, portaldb: Portaldb) -> None:
    """Where the objects match and a seed is missing, adoption brings it."""
    url = make_database()
    by_psql(url, 9999)
    execute(url, "DELETE FROM public.mcp_servers WHERE name = 'slack'")
    portaldb("baseline", "--yes", database=url, check=True)
    is_under_the_migrations(url, portaldb)
    assert one(url, "SELECT count(*) FROM public.mcp_servers WHERE name = 'slack'") == 1


def test_baseline_adopts_what_plain_yoyo_marked(make_database: MakeDatabase, portaldb: Portaldb) -> None:
    """Marks without our checksum are verified against the catalog, and no further than they go."""
    url = make_database(migrate=True)
    portaldb("rollback", "--to", "20", "--yes", database=url, check=True)
    execute(url, "DROP TABLE public._portaldb_migration")
    assert portaldb("status", "--check", database=url).returncode == 1
    portaldb("baseline", "--yes", database=url, check=True)
    portaldb("migrate", database=url, check=True)
    is_under_the_migrations(url, portaldb)


def test_baseline_puts_back_a_mark_that_was_taken_away(make_database: MakeDatabase, portaldb: Portaldb) -> None:
    """Where plain yoyo unmarked what is still there, the catalog proves it and the mark comes back."""
    url = make_database(migrate=True)
    execute(url, "DELETE FROM public._yoyo_migration WHERE migration_id LIKE '0006%'")
    assert portaldb("status", "--check", database=url).returncode == 1
    assert "1 migrations adopted" in portaldb("baseline", "--yes", database=url, check=True).stdout
    is_under_the_migrations(url, portaldb)


def test_baseline_refuses_where_there_is_nothing_to_adopt(make_database: MakeDatabase, portaldb: Portaldb) -> None:
    """Before init, on an empty database, and on one that is recorded already: each says what to run instead."""
    assert "portaldb init" in paragraph(portaldb("baseline", database=make_database(init=False)), 4)
    assert "`portaldb migrate` makes it" in paragraph(portaldb("baseline", database=make_database()), 4)
    assert "nothing to adopt" in paragraph(portaldb("baseline", "--yes", database=make_database(migrate=True)), 4)


@pytest.fixture(scope="module")
def migrated(server: str, templates: Callable[[str], str]) -> Iterator[str]:
    """Make one database for the changes, which are all rolled back."""
    name = f"baseline_{secrets.token_hex(4)}"
    copy_database(server, templates("migrate"), name)
    yield conninfo.make_conninfo(server, dbname=name)
    drop_database(server, name)


BY_PERSON = {
    "grants on the record of migrations",
    "takes a role's login",
    "publishes every table",
    "adds a CHECK to one partition",
    "pauses a job",
}
"""Changes that the script leaves to a person, besides those that add something."""


@pytest.mark.parametrize("change", [name for name in CHANGES if name not in BY_PERSON and " an " not in name])
def test_baseline_mends_a_change(migrated: str, change: str) -> None:
    """Each change by hand that takes away, alters or opens something is mended by the script; the rest is listed."""
    done, _, named = CHANGES[change]
    migrations, known = read(sql_root()), manifest.for_server(catalog_version(migrated))
    level = migrations[-1].id
    # The change and the script end with the transaction.
    with connect(migrated) as connection, connection.transaction(force_rollback=True):
        connection.execute(done.encode())
        plan = reconcile.plan(known, migrations, catalog.read(connection), level, "template1")
        text = reconcile.render(plan, ["test"]).replace("DATABASE template1", f"DATABASE {connection.info.dbname}")
        connection.execute(text.encode())
        left = drift.compare(known.at(level), catalog.read(connection))
    kept = {thing.key for thing in plan.kept}
    assert [each.thing.key for each in left if each.thing.key not in kept] == [], text
    if kept:
        assert named.startswith("extra ")
        assert named.removeprefix("extra ") in kept


def catalog_version(url: str) -> int:
    """Return the server's version number."""
    return int(one(url, "SELECT current_setting('server_version_num')::int"))
