"""A backup is whole or is none; a restore ends with the database as it was, to the last grant."""

import json
import os
import random
import re
import secrets
import subprocess
import sys
import threading
import time
from pathlib import Path

import psycopg
import pytest
from conftest import ROOT, Login, MakeDatabase, Portaldb, clean_environment, drop_database
from psycopg import conninfo, sql
from support import ask, command, kill, one, paragraph, until

from portaldb.cluster import Cluster

ROWS = """
INSERT INTO public.users (azure_oid, email, display_name)
SELECT 'oid-' || g, 'user' || g || '@example.org', 'Ünïcode ' || g || E'\\t\\n\\\\.' FROM generate_series(1, 400) AS g;
INSERT INTO public.user_server_configs (user_id, server_id, enabled, config_metadata)
SELECT u.id, s.id, true, jsonb_build_object('n', u.email)
FROM public.users AS u CROSS JOIN (SELECT id FROM public.mcp_servers ORDER BY id LIMIT 1) AS s;
INSERT INTO public.teams (name, created_by) SELECT 'team ' || u.azure_oid, u.id FROM public.users AS u LIMIT 20;
INSERT INTO public.team_members (team_id, user_id, role)
SELECT t.id, t.created_by, 'admin' FROM public.teams AS t;
INSERT INTO public.user_sessions (user_id, session_token, expires_at)
SELECT u.id, encode(sha256(u.email::bytea), 'hex'), now() + interval '1 day' FROM public.users AS u;
INSERT INTO public.audit_logs (user_id, action, details, timestamp)
SELECT u.id, 'login', jsonb_build_object('g', g), now() - g * interval '11 days'
FROM (SELECT id FROM public.users LIMIT 50) AS u CROSS JOIN generate_series(0, 20) AS g;
"""


@pytest.fixture(autouse=True)
def programs(cluster: Cluster) -> Path:
    """Need the session's own server: PostgreSQL in a container is newer than the pg_dump that is installed here."""
    return cluster.programs


@pytest.fixture
def filled(make_database: MakeDatabase) -> str:
    """Make a database with rows of every kind, some of the trail in the default partition."""
    url = make_database(migrate=True)
    ask(url, ROWS)
    return url


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder for backups."""
    made = tmp_path / "backups"
    made.mkdir()
    return made


def dump_of(folder: Path) -> Path:
    """Return the one dump of a folder."""
    (dump,) = folder.glob("full_backup_*.dump")
    return dump


def contents(url: str) -> dict[str, object]:
    """Return what every table holds, in an order of its own."""
    names = ask(
        url,
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname = 'public' ORDER BY 1",
    )
    return {
        name: one(url, f"SELECT count(*) || ' ' || md5(string_agg(t::text, '' ORDER BY t::text)) FROM {name} t")
        for name in names
    }


def test_backup_comes_back_under_another_name_as_the_owner_restores_it(
    filled: str, folder: Path, make_database: MakeDatabase, login: Login, portaldb: Portaldb
) -> None:
    """A member of portal_backup takes it, a member of mcp_admin restores it; to the last grant it is as it was."""
    taker, target = login(filled, "portal_backup"), make_database()
    ask(filled, "GRANT SELECT ON public.monitor_audit_summary TO " + str(conninfo.conninfo_to_dict(taker)["user"]))
    made = json.loads(portaldb("backup", "--folder", str(folder), "--json", database=taker, check=True).stdout)
    assert made["rows"] > 2000
    owner = login(target, "mcp_admin")
    said = portaldb("restore", made["dump"], database=owner, check=True).stdout
    assert "compared table by table" in said
    assert contents(target) == contents(filled)
    ask(target, "REVOKE SELECT ON public.monitor_audit_summary FROM " + str(conninfo.conninfo_to_dict(taker)["user"]))
    portaldb("status", "--check", database=target, check=True)
    portaldb("drift", database=target, check=True)
    portaldb("verify", "--live", database=target, check=True)


def test_every_file_is_private_and_holds_no_password(
    filled: str, folder: Path, portaldb: Portaldb, login: Login
) -> None:
    """Nobody else reads a backup, and the roles come without what opens them."""
    login(filled, "portal_app")
    portaldb("backup", "--folder", str(folder), "--plain", "--format", "custom", database=filled, check=True)
    names = sorted(path.name.split("_2")[0] for path in folder.iterdir())
    assert names == ["data", "full_backup", "manifest", "roles", "schema"]
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    roles = next(folder.glob("roles_*.sql")).read_text()
    assert 'CREATE ROLE "login_' in roles
    for path in folder.iterdir():
        assert b"SCRAM-SHA" not in path.read_bytes()
        assert b"PASSWORD" not in path.read_bytes() or path.name.startswith("data_")


def managed_policies(reader: str) -> str:
    """Return the statement of docs/backup.md for a server that allows no BYPASSRLS."""
    page = (ROOT / "docs/backup.md").read_text()
    (statement,) = re.findall(r"```sql\n(DO .*?)```", page, re.DOTALL)
    return str(statement).replace("portal_backup", reader)


def test_backup_that_would_lack_rows_is_refused(filled: str, folder: Path, portaldb: Portaldb, login: Login) -> None:
    """Whoever sees some rows gets no backup; where BYPASSRLS is not to be had, policies that let all through do."""
    paragraph(portaldb("backup", "--folder", str(folder), database=login(filled, "portal_app")), 8)
    paragraph(portaldb("backup", "--folder", str(folder), database=login(filled, "mcp_admin")), 4)
    reader = login(filled, "pg_read_all_data")
    name = str(conninfo.conninfo_to_dict(reader)["user"])
    ask(filled, f"GRANT CONNECT ON DATABASE {conninfo.conninfo_to_dict(filled)['dbname']} TO {name}")
    said = paragraph(portaldb("backup", "--folder", str(folder), database=reader), 4)
    assert "Row-Level Security hides rows of" in said
    assert not list(folder.iterdir()), "a refusal leaves nothing behind"
    ask(filled, managed_policies(name))
    made = json.loads(portaldb("backup", "--folder", str(folder), "--json", database=reader, check=True).stdout)
    assert made["rows"] > 2000
    assert rows_of(folder, "public.audit_logs") == one(filled, "SELECT count(*) FROM public.audit_logs")
    portaldb("backup", "verify", str(folder), "--checksums", check=True)
    ask(filled, f"CREATE POLICY narrow ON public.users AS RESTRICTIVE TO {name} USING (is_active)")
    said = paragraph(portaldb("backup", "--folder", str(folder), database=reader), 4)
    assert "public.users" in said


def rows_of(folder: Path, root: str) -> int:
    """Return how many rows of a table the backup has, by its manifest."""
    manifest = json.loads(next(folder.glob("manifest_*.json")).read_text())
    return sum(table["rows"] for table in manifest["tables"] if table["root"] == root)


def test_backup_under_write_load_is_of_one_moment(filled: str, folder: Path, portaldb: Portaldb) -> None:
    """Counts, hashes and dump are of one snapshot, whoever writes meanwhile."""
    stop = threading.Event()

    def write(number: int) -> None:
        with psycopg.connect(filled, autocommit=True) as connection:
            while not stop.is_set():
                connection.execute(
                    "WITH u AS (INSERT INTO public.users (azure_oid, email) VALUES (%s, 'w@example.org') RETURNING id) "
                    "INSERT INTO public.user_sessions (user_id, session_token, expires_at) "
                    "SELECT u.id, u.id::text, now() + interval '1 hour' FROM u",
                    [f"w{number}-{secrets.token_hex(8)}"],
                )

    with psycopg.connect(filled, autocommit=True) as connection:
        # so long that a second of the dump is under load
        connection.execute(
            "INSERT INTO public.audit_logs (action, details) "
            "SELECT 'login', jsonb_build_object('g', md5(g::text)) FROM generate_series(1, 100000) AS g"
        )
    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for writer in writers:
        writer.start()
    try:
        portaldb("backup", "--folder", str(folder), database=filled, check=True)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    manifest = json.loads(next(folder.glob("manifest_*.json")).read_text())
    rows = {table["name"]: table["rows"] for table in manifest["tables"]}
    assert one(filled, "SELECT count(*) FROM public.users") > rows["public.users"] > 400
    assert rows["public.users"] == rows["public.user_sessions"], "each writer's two rows are in or out together"
    portaldb("backup", "verify", str(folder), database=filled, check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_full_disk_leaves_nothing_that_looks_like_a_backup(filled: str, folder: Path, portaldb: Portaldb) -> None:
    """The backup before stays whole, and the message says what to do."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        ask(
            filled,
            "INSERT INTO public.audit_logs (action, user_agent) "
            "SELECT 'login', gen_random_uuid() FROM generate_series(1, 50000)",
        )
        for form in ("directory", "custom"):
            said = paragraph(portaldb("backup", "--folder", str(folder), "--format", form, database=filled), 10)
            assert "No space left on device" in said
            assert "Free space" in said
            assert not list(folder.iterdir())
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_killed_backups_leave_no_backup_and_the_next_one_clears_up(
    filled: str, folder: Path, portaldb: Portaldb, seed: int
) -> None:
    """SIGKILL at random moments: what has a name is whole, what has a manifest is a backup."""
    chance = random.Random(seed)  # noqa: S311 - chosen at random, and again by --seed
    whole = 0
    for _ in range(12):
        with command(
            "backup", "--folder", str(folder), "--format", chance.choice(["custom", "directory"]), database=filled
        ) as process:
            time.sleep(chance.uniform(0.2, 1.2))
            kill(process)
        for manifest in folder.glob("manifest_*.json"):
            portaldb("backup", "verify", str(manifest), "--checksums", check=True)
            whole += 1
        for dump in folder.glob("full_backup_*.dump"):
            if not (folder / dump.name.replace("full_backup", "manifest").replace(".dump", ".json")).exists():
                said = paragraph(portaldb("backup", "verify", str(dump), "--checksums"), 9)
                assert "was not finished" in said
    before = len(list(folder.glob("manifest_*.json")))
    portaldb("backup", "--folder", str(folder), database=filled, check=True)
    assert len(list(folder.glob("manifest_*.json"))) == before + 1
    # pg_dump outlives its parent for a moment, and what it holds is cleared by the next one
    assert len(list(folder.glob(".unfinished_backup_*"))) == 0
    portaldb("backup", "verify", str(folder), "--checksums", check=True)


@pytest.mark.parametrize("form", ["custom", "directory"])
def test_damaged_backup_is_never_used(
    filled: str, folder: Path, make_database: MakeDatabase, portaldb: Portaldb, form: str, seed: int
) -> None:
    """A flipped bit, a missing end, a missing file, in whichever file: exit 9, and the target is not touched."""
    portaldb("backup", "--folder", str(folder), "--format", form, database=filled, check=True)
    target, chance = make_database(), random.Random(seed)  # noqa: S311 - as above
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in [files[0], files[-1], chance.choice(files), next(folder.glob("manifest_*"))]:
        good = path.read_bytes()
        place = chance.randrange(len(good))
        for bad in (
            good[:place] + bytes([good[place] ^ 1 << chance.randrange(8)]) + good[place + 1 :],
            good[:place],
            None,
        ):
            if bad is None:
                path.unlink()
            else:
                path.write_bytes(bad)
            done = portaldb("restore", str(dump_of_any(folder)), database=target)
            paragraph(done, 9)
            path.write_bytes(good)
    assert (
        one(target, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'") == 0
    )
    portaldb("restore", str(dump_of_any(folder)), database=target, check=True)


def dump_of_any(folder: Path) -> Path:
    """Return a name of the backup that is there, whatever was removed."""
    found = [*folder.glob("manifest_*.json"), *folder.glob("full_backup_*.dump")]
    return found[0]


def test_restore_over_what_is_there_asks_and_is_one_transaction(
    filled: str, folder: Path, make_database: MakeDatabase, portaldb: Portaldb, login: Login
) -> None:
    """Without --clean it is refused, without an answer nothing happens, and what fails or is killed changes nothing."""
    portaldb("backup", "--folder", str(folder), database=filled, check=True)
    target = make_database(migrate=True)
    ask(target, "INSERT INTO public.users (azure_oid, email) VALUES ('x', 'x@example.org')")
    before = contents(target)
    owner = login(target, "mcp_admin")
    said = paragraph(portaldb("restore", str(folder), database=owner), 4)
    assert "--clean" in said
    said = paragraph(portaldb("restore", str(folder), "--clean", database=owner), 4)
    assert "nothing was changed" in said
    done = portaldb("restore", str(folder), "--clean", database=owner, stdin="n\n")
    assert done.returncode == 0
    assert contents(target) == before
    # a reader holds it up in the middle, and it is killed there
    with psycopg.connect(target) as reader:
        reader.execute("SELECT count(*) FROM public.users")
        with command("restore", str(folder), "--clean", "--yes", database=owner) as process:
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            until(lambda: one(target, waiting), "the restore waits for the reader")
            kill(process)
        reader.rollback()
    gone = "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    until(lambda: one(target, gone), "psql has seen that nobody talks to it")
    assert contents(target) == before
    portaldb("drift", database=target, check=True)
    portaldb("restore", str(folder), "--clean", "--yes", database=owner, check=True)
    assert contents(target) == contents(filled)
    portaldb("drift", database=target, check=True)


def test_restore_that_was_cut_short_is_not_taken_for_a_database(
    filled: str, folder: Path, make_database: MakeDatabase, portaldb: Portaldb
) -> None:
    """Killed while it loads: no migration is recorded, no service reaches a table, and --clean finishes it."""
    ask(
        filled,
        "INSERT INTO public.audit_logs (action, user_agent) "
        "SELECT 'login', repeat('x', 200) FROM generate_series(1, 60000)",
    )
    portaldb("backup", "--folder", str(folder), database=filled, check=True)
    target = make_database()
    with command("restore", str(folder), database=target) as process:
        until(lambda: one(target, "SELECT to_regclass('public.users') IS NOT NULL"), "tables are there")
        kill(process)
    until(
        lambda: one(
            target,
            "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
        ),
        "what loads has ended",
        120,
    )
    assert one(target, "SELECT count(*) FROM public._yoyo_migration") == 0
    assert not one(target, "SELECT has_table_privilege('portal_app', 'public.users', 'SELECT')")
    assert not one(target, "SELECT has_schema_privilege('portal_app', 'public', 'USAGE')")
    portaldb("restore", str(folder), "--clean", "--yes", database=target, check=True)
    portaldb("drift", database=target, check=True)
    assert contents(target) == contents(filled)


def test_rows_alone_go_into_a_migrated_database(
    filled: str, folder: Path, make_database: MakeDatabase, portaldb: Portaldb, login: Login
) -> None:
    """FORCE and triggers are lifted and put back, seeds are replaced, and rows find their partition."""
    ask(filled, "UPDATE public.jobs SET is_active = false; SELECT public.ensure_audit_partitions(30)")
    ask(filled, "INSERT INTO public.audit_logs (action, timestamp) VALUES ('login', now() + interval '20 months')")
    portaldb("backup", "--folder", str(folder), database=filled, check=True)
    target = make_database(migrate=True)
    owner = login(target, "mcp_admin")
    ask(
        target,
        "CREATE TRIGGER always BEFORE INSERT ON public.users FOR EACH ROW EXECUTE FUNCTION public.update_updated_at()",
    )
    ask(target, "ALTER TABLE public.users ENABLE ALWAYS TRIGGER always")
    states = "SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2"
    before = ask(target, states)
    portaldb("restore", str(folder), "--data-only", database=owner, check=True)
    assert ask(target, states) == before
    ask(target, "DROP TRIGGER always ON public.users")
    record = {"public._portaldb_migration", "public._yoyo_log", "public._yoyo_migration", "public._yoyo_version"}
    mine, theirs = contents(target), contents(filled)
    assert {k: v for k, v in mine.items() if k not in record} == {k: v for k, v in theirs.items() if k not in record}
    ask(target, "UPDATE public.jobs SET is_active = true")
    portaldb("drift", database=target, check=True)
    said = paragraph(portaldb("restore", str(folder), "--data-only", database=owner), 4)
    assert "has rows in" in said
    portaldb("restore", str(folder), "--data-only", "--clean", "--yes", database=owner, check=True)
    portaldb("rollback", "--steps", "1", "--yes", database=target, check=True)
    said = paragraph(portaldb("restore", str(folder), "--data-only", "--clean", "--yes", database=owner), 4)
    assert "same migrations" in said


def test_restored_database_runs_the_jobs_that_its_registry_says(
    make_database: MakeDatabase, folder: Path, portaldb: Portaldb, login: Login
) -> None:
    """Where pg_cron is, its own table is not in the backup, and is as it was all the same."""
    url = make_database("mcp_portal", migrate=True)
    scheduled = "SELECT jobname, schedule, command, username FROM cron.job ORDER BY 1"
    before = ask(url, scheduled)
    assert len(before) >= 3
    portaldb("backup", "--folder", str(folder), database=login(url, "portal_backup"), check=True)
    ask(url, "UPDATE public.jobs SET schedule = '1 1 1 1 *'; SET ROLE mcp_admin; SELECT public.sync_cron_jobs()")
    assert ask(url, scheduled) != before
    said = portaldb("restore", str(folder), "--clean", "--yes", database=login(url, "mcp_admin"), check=True).stdout
    assert "pg_cron" not in said, "nothing stood in the way"
    assert ask(url, scheduled) == before
    portaldb("drift", database=url, check=True)


def test_old_backups_of_this_database_alone_are_removed(
    filled: str, make_database: MakeDatabase, folder: Path, portaldb: Portaldb
) -> None:
    """--keep counts whole backups of the same database, and touches nothing else."""
    other = make_database(migrate=True)
    (folder / "full_backup_20200101_000000.dump").write_text("somebody's")
    portaldb("backup", "--folder", str(folder), database=other, check=True)
    for _ in range(3):
        portaldb("backup", "--folder", str(folder), "--keep", "2", database=filled, check=True)
    names = [json.loads(path.read_text())["database"] for path in folder.glob("manifest_*.json")]
    assert sorted(names.count(name) for name in set(names)) == [1, 2]
    assert len(list(folder.glob("full_backup_*"))) == 4
    assert len(list(folder.glob("roles_*"))) == 3


def test_missing_roles_are_named_and_made_on_request(
    filled: str, folder: Path, make_database: MakeDatabase, portaldb: Portaldb, server: str
) -> None:
    """A grant to a login that the server has not got is no reason to lose it silently."""
    name = f"reader_{secrets.token_hex(4)}"
    ask(server, f"CREATE ROLE {name} LOGIN PASSWORD 'secret' IN ROLE portal_monitor")
    try:
        ask(filled, f"GRANT SELECT ON public.monitor_audit_summary TO {name}")
        portaldb("backup", "--folder", str(folder), database=filled, check=True)
        drop_database(server, str(conninfo.conninfo_to_dict(filled)["dbname"]))
        ask(server, f"DROP ROLE {name}")
        target = make_database()
        said = paragraph(portaldb("restore", str(folder), database=target), 4)
        assert name in said
        assert "--roles" in said
        portaldb("restore", str(folder), "--roles", database=target, check=True)
        assert one(target, "SELECT has_table_privilege(%s, 'public.monitor_audit_summary', 'SELECT')", name)
        assert one(server, "SELECT rolpassword IS NULL FROM pg_authid WHERE rolname = %s", name)
        assert one(server, f"SELECT pg_has_role('{name}', 'portal_monitor', 'MEMBER')")
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            for (database,) in connection.execute(
                "SELECT datname FROM pg_database WHERE datname LIKE 'test\\_%'"
            ).fetchall():
                with psycopg.connect(conninfo.make_conninfo(server, dbname=database), autocommit=True) as inside:
                    if inside.execute("SELECT to_regrole(%s)", [name]).fetchone() != (None,):
                        inside.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


def test_scripts_of_the_schema_document(
    filled: str, folder: Path, make_database: MakeDatabase, portaldb: Portaldb
) -> None:
    """backup_database.sh leaves the document's three files, and restore_database.sh takes the dump."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = clean_environment() | {"PATH": path, "DATABASE_URL": filled, "BACKUP_DIR": str(folder)}
    done = subprocess.run([ROOT / "scripts/backup_database.sh"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = {path.name.split("_2")[0] for path in folder.iterdir()}
    assert names == {"full_backup", "schema", "data", "roles", "manifest"}
    assert dump_of(folder).read_bytes().startswith(b"PGDMP")
    target = make_database(migrate=True)
    env["DATABASE_URL"] = target
    argv = [ROOT / "scripts/restore_database.sh", dump_of(folder)]
    refused = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert refused.returncode == 4, refused.stderr
    done = subprocess.run([*argv, "--yes"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert contents(target) == contents(filled)
    env.pop("DATABASE_URL")
    usage = subprocess.run([ROOT / "scripts/restore_database.sh"], env=env, capture_output=True, text=True, check=False)
    assert usage.returncode == 2


def test_bad_places_are_told(filled: str, tmp_path: Path, portaldb: Portaldb) -> None:
    """No folder, an empty folder, a file that is none of ours."""
    paragraph(portaldb("backup", "--folder", str(tmp_path / "none"), database=filled), 2)
    paragraph(portaldb("restore", str(tmp_path / "none"), database=filled), 2)
    paragraph(portaldb("restore", str(tmp_path), database=filled), 2)
    (tmp_path / "my.dump").write_text("x")
    paragraph(portaldb("restore", str(tmp_path / "my.dump"), database=filled), 2)
