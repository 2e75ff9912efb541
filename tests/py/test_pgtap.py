"""The SQL's own tests, in tests/sql: pgTAP through pg_prove."""

import os
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, MakeDatabase
from psycopg import conninfo


def test_pgtap_suite(
    make_database: MakeDatabase, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every assertion holds, on a database called mcp_portal: the one that pg_cron knows."""
    parts = conninfo.conninfo_to_dict(make_database("mcp_portal", migrate=True))
    chosen = request.config.getoption("--pgtap")
    files = [Path(name).resolve() for name in chosen] if chosen else sorted(ROOT.glob("tests/sql/*.sql"))
    # pg_prove takes no URL; psql, which it starts, reads libpq's variables.
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE", "password": "PGPASSWORD"}
    settings = {names[key]: str(value) for key, value in parts.items() if key in names}
    with capfd.disabled():
        print(flush=True)  # noqa: T201 - what pg_prove reports is what a person reads
        done = subprocess.run(
            ["pg_prove", *(["--verbose"] if chosen else []), *(file.relative_to(ROOT) for file in files)],
            env=dict(os.environ) | settings,
            stdin=subprocess.DEVNULL,
            cwd=ROOT,
            check=False,
        )
    if done.returncode != 0:
        pytest.fail("pg_prove found failures; its report is above", pytrace=False)
