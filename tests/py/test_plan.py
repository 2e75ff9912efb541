"""`portaldb plan` shows the pending SQL and what it does to live tables, and writes nothing."""

import json
import shutil
from pathlib import Path

import psycopg
import pytest
from conftest import ROOT, Login, MakeDatabase, Portaldb

from portaldb.layout import FOLDERS

PENDING = """\
-- Tries the ways to hurt a table.

ALTER TABLE public.users ALTER COLUMN display_name SET NOT NULL;
CREATE INDEX idx_users_display_name ON public.users (display_name);
CREATE TABLE public.widgets (id integer);
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Copy the series, with one more migration at its end."""
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "migrations/9000_widgets.sql").write_text(PENDING)
    return tmp_path


@pytest.fixture
def populated(make_database: MakeDatabase) -> str:
    """Make a migrated database whose users table has 20,000 analysed rows."""
    url = make_database(migrate=True)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO users (azure_oid, email, display_name) SELECT g, g, g FROM generate_series(1, 20000) AS g"
        )
        connection.execute("ANALYZE users")
    return url


def test_plan_tells_locks_rewrites_and_scans_with_the_live_size(
    populated: str, source: Path, portaldb: Portaldb
) -> None:
    """A scan of 20,000 rows is named with its lock; a table that is not there yet has no size."""
    done = portaldb("plan", "--json", "--source", str(source), database=populated, check=True)
    (migration,) = json.loads(done.stdout)["migrations"]
    assert migration["file"] == "migrations/9000_widgets.sql"
    assert [each["line"] for each in migration["statements"]] == [3, 4, 5]
    not_null, index, table = migration["statements"]
    assert not_null["sql"] == "ALTER TABLE public.users ALTER COLUMN display_name SET NOT NULL"
    (effect,) = not_null["effects"]
    assert (effect["relation"], effect["lock"], effect["scans"]) == ("public.users", "ACCESS EXCLUSIVE", True)
    assert effect["live"]["rows"] == 20000
    assert effect["live"]["bytes"] > 1_000_000
    assert "require-concurrent-index-creation" in [each["rule"] for each in index["squawk"]]
    assert all(effect["live"] is None for effect in table["effects"])
    assert table["squawk"] == []


def test_plan_for_people_shows_the_sql_and_the_size(populated: str, source: Path, portaldb: Portaldb) -> None:
    """The text report has the statement, the lock, how many rows, and the next command."""
    done = portaldb("plan", "--source", str(source), database=populated, check=True)
    assert "CREATE INDEX idx_users_display_name ON public.users (display_name);" in done.stdout
    assert "SHARE, blocks writes, scans the table (about 20,000 rows" in done.stdout
    assert "Next: portaldb migrate" in done.stdout


def test_plan_of_an_empty_database_lists_the_whole_series(make_database: MakeDatabase, portaldb: Portaldb) -> None:
    """Before the first migrate there is no record to read, and everything is pending, in order."""
    done = portaldb("plan", "--json", database=make_database(), check=True)
    names = [each["id"] for each in json.loads(done.stdout)["migrations"]]
    assert names == sorted(names)
    assert names[0] == "0001_default_privileges"
    assert len(names) == len([*ROOT.glob("*/[0-9]*.sql")]) - len([*ROOT.glob("*/[0-9]*.rollback.sql")])


def test_plan_stops_at_to(make_database: MakeDatabase, portaldb: Portaldb) -> None:
    """--to takes a number, as migrate does."""
    done = portaldb("plan", "--json", "--to", "3", database=make_database(), check=True)
    assert len(json.loads(done.stdout)["migrations"]) == 3


def test_plan_works_with_read_only_rights(populated: str, source: Path, portaldb: Portaldb, login: Login) -> None:
    """A login that may read the record of migrations, and nothing else, sees the plan with its sizes."""
    monitor = login(populated, "portal_monitor")
    done = portaldb("plan", "--json", "--source", str(source), database=monitor, check=True)
    (migration,) = json.loads(done.stdout)["migrations"]
    assert migration["statements"][0]["effects"][0]["live"]["rows"] == 20000


def test_plan_writes_nothing(make_database: MakeDatabase, portaldb: Portaldb) -> None:
    """Not even the record's tables are made."""
    url = make_database()
    portaldb("plan", database=url, check=True)
    with psycopg.connect(url) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname LIKE '%migration%'"
        ).fetchone()
    assert found == (0,)


def test_plan_says_what_it_could_not_read(populated: str, source: Path, portaldb: Portaldb) -> None:
    """SQL that the parser does not know is named with its line; the server remains the judge of it."""
    (source / "migrations/9000_widgets.sql").write_text("-- Broken.\n\nCREATE TABEL public.widgets (id integer);\n")
    done = portaldb("plan", "--source", str(source), database=populated, check=True)
    assert "9000_widgets.sql, line 3" in done.stdout
    assert "not looked at" in done.stdout
