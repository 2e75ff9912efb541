"""Tenant isolation, as the command proves it on what the migrations make."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from conftest import ROOT, Portaldb
from support import ask

from portaldb.cluster import Cluster


def test_verify_is_green_on_what_the_migrations_make(
    server: str, portaldb: Portaldb, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Every cell and pgTAP test is as meant, in print and in JUnit's XML, and the throwaway database is gone."""
    report = tmp_path / "isolation.xml"
    done = portaldb("verify", "--junit", str(report), database=server)
    with capfd.disabled():
        print(f"\n{done.stdout}{done.stderr}", flush=True)  # noqa: T201 - what verify reports is what a person reads
    assert done.returncode == 0, "isolation is not as meant; the report is above"
    root = ET.parse(report).getroot()  # noqa: S314 - our own file
    assert root.get("failures") == "0"
    assert len(root.findall("testsuite/testcase")) == int(root.get("tests", 0)) > 7000
    files = {case.get("name"): case for case in root.findall("testsuite[@name='pgTAP']/testcase")}
    assert set(files) == {path.name for path in ROOT.glob("tests/sql/*.sql")}
    # pg_cron lives in one database of a server; tests/py/test_pgtap.py runs its tests there
    assert {name for name, case in files.items() if case.find("skipped") is not None} == {"cron_jobs.sql"}
    assert not ask(server, "SELECT datname FROM pg_database WHERE datname LIKE 'portaldb_verify%'")


def test_verify_json_has_each_cell_with_its_evidence(server: str, portaldb: Portaldb) -> None:
    """What is compared is more than refusals: rows seen, changed and removed, by each actor."""
    found = json.loads(portaldb("verify", "--json", "--without-pgtap", database=server, check=True).stdout)
    assert found["ok"] and not found["failures"]
    assert found["cells"] == len(found["results"])
    reached = {(each["actor"], each["command"]) for each in found["results"] if isinstance(each["expected"], list)}
    assert {("user", "select"), ("user", "update"), ("super_admin", "delete"), ("nobody", "select")} <= reached
    assert all(each["statement"] or each["answer"] for each in found["results"])


@pytest.mark.soak  # since the API is there it takes half an hour
def test_verify_notices_every_weakening(
    cluster: Cluster, portaldb: Portaldb, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each rule weakened in turn, from the live catalog, and not one goes unnoticed.

    On the throwaway cluster alone: what a weakening does is the same on PostgreSQL 17, where `verify` runs as well.
    """
    done = portaldb("verify", "--mutate", database=cluster.url(), timeout=3600)
    with capfd.disabled():
        print(f"\n{done.stdout}{done.stderr}", flush=True)  # noqa: T201 - what verify reports is what a person reads
    assert done.returncode == 0, "weakenings go unnoticed; the report is above"
    score = re.search(r"mutants  ([\d,]+) tried, ([\d,]+) killed \(100 %\)", done.stdout)
    assert score and int(score[1].replace(",", "")) > 5000
