"""The SQL's own tests, in tests/sql: pgTAP through pg_prove."""

import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, MakeDatabase

from portaldb.verify import pgtap


def test_pgtap_suite(
    make_database: MakeDatabase, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every assertion holds, on a database called mcp_portal: the one that pg_cron knows."""
    url = make_database("mcp_portal", migrate=True)
    chosen = request.config.getoption("--pgtap")
    files = [Path(name).resolve() for name in chosen] if chosen else sorted(ROOT.glob("tests/sql/*.sql"))
    argv, environment = pgtap.command(
        url, [file.relative_to(ROOT) for file in files], *(["--verbose"] if chosen else ["--jobs", str(pgtap.JOBS)])
    )
    with capfd.disabled():
        print(flush=True)  # noqa: T201 - what pg_prove reports is what a person reads
        done = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, cwd=ROOT, check=False)
    if done.returncode != 0:
        pytest.fail("pg_prove found failures; its report is above", pytrace=False)
