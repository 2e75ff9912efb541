"""The SQL's own tests: the pgTAP suite through pg_prove, and plpgsql_check over every function."""

import os
import subprocess
from pathlib import Path

import psycopg
import pytest
from conftest import MakeDatabase
from psycopg import conninfo

SUITE = Path(__file__).parents[1] / "sql"


def test_pgtap_suite(
    make_database: MakeDatabase, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every assertion of tests/sql holds, on a database called mcp_portal: the one that pg_cron knows."""
    url = make_database("mcp_portal", migrate=True)
    parts = conninfo.conninfo_to_dict(url)
    password = parts.pop("password", None)
    chosen = request.config.getoption("--pgtap")
    files = [Path(name).resolve() for name in chosen] if chosen else sorted(SUITE.glob("*.sql"))
    # pg_prove takes no URL; psql, which it starts, reads libpq's variables.
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    settings = {names[key]: str(value) for key, value in parts.items() if key in names}
    with capfd.disabled():
        print(flush=True)  # noqa: T201 - pg_prove's report is what a person reads
        done = subprocess.run(
            ["pg_prove", "--ext", ".sql", *(["--verbose"] if chosen else []), *files],
            env=dict(os.environ) | settings | ({"PGPASSWORD": str(password)} if password else {}),
            stdin=subprocess.DEVNULL,
            check=False,
        )
    assert done.returncode == 0, "pg_prove found failures; its report is above"


def test_plpgsql_check_finds_nothing(make_database: MakeDatabase) -> None:
    """Every plpgsql function fits the tables it uses, ends on every path, and builds no SQL from its input."""
    with psycopg.connect(make_database("mcp_portal", migrate=True), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION plpgsql_check")
        checked = connection.execute(
            """
            SELECT f.oid::regprocedure::text, coalesce(t.tgrelid::regclass::text, ''), c.*
            FROM pg_proc AS f
            JOIN pg_language AS l ON l.oid = f.prolang AND l.lanname = 'plpgsql'
            JOIN pg_namespace AS n ON n.oid = f.pronamespace
            LEFT JOIN pg_trigger AS t ON t.tgfoid = f.oid AND t.tgparentid = 0
            LEFT JOIN LATERAL plpgsql_check_function(
                f.oid, coalesce(t.tgrelid, 0),
                fatal_errors => false, all_warnings => false, extra_warnings => true,
                security_warnings => true
            ) AS c ON true
            WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
            AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = f.oid AND d.deptype = 'e')
            """
        ).fetchall()
    assert checked, "there are functions to check"
    found = [f"{function} {table} {said}" for function, table, said in checked if said]
    assert not found, "\n".join(found)
