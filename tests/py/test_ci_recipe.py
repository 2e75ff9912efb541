"""The CI recipes of docs/ci: their files are what they seem, and what they run is green, and red for a hole."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from conftest import ROOT, Completed, Login, clean_environment, start_container
from psycopg import conninfo
from support import ask

from portaldb.database import MINIMUM_VERSION, has_password

WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / "docs/ci/github-actions.yml").read_text(encoding="utf-8"))
JOB: dict[str, Any] = WORKFLOW["jobs"]["isolation"]
GITLAB: dict[str, Any] = yaml.safe_load((ROOT / "docs/ci/gitlab-ci.yml").read_text(encoding="utf-8"))["isolation"]
STEPS: list[str] = [step["run"] for step in JOB["steps"] if "run" in step]


def test_recipe_starts_a_postgresql_that_its_steps_reach() -> None:
    """The service, its password and the URL fit together, and no password stands in the URL."""
    service = JOB["services"]["postgres"]
    image, version = service["image"].split(":")
    assert image == "postgres" and int(version) * 10000 >= MINIMUM_VERSION
    assert JOB["env"]["PGPASSWORD"] == service["env"]["POSTGRES_PASSWORD"]
    assert not has_password(JOB["env"]["DATABASE_URL"])
    parts = conninfo.conninfo_to_dict(JOB["env"]["DATABASE_URL"])
    assert (parts["user"], parts["host"], f"{parts['port']}:5432") == ("postgres", "localhost", service["ports"][0])
    assert "--health-cmd" in service["options"], "the steps begin when the server answers"


def test_recipe_keeps_every_report_after_a_failure_too() -> None:
    """What the steps write is what is uploaded, whatever the verdict was."""
    written = set(re.findall(r"--(?:junit|sarif|html) (\S+)", STEPS[-1]))
    assert len(written) == 3
    kept = [step for step in JOB["steps"] if "upload" in step.get("uses", "")]
    assert [step["if"] for step in kept] == ["always()", "always()"]
    assert {Path(name).match(kept[0]["with"]["path"]) for name in written} == {True}
    assert kept[1]["with"]["sarif_file"] in written
    assert WORKFLOW["permissions"] == {"contents": "read", "security-events": "write"}


def test_recipe_for_gitlab_runs_the_same() -> None:
    """One is tested by running it; the other has its commands."""
    assert [" ".join(step.split()) for step in STEPS] == GITLAB["script"]
    assert GITLAB["services"][0]["name"] == JOB["services"]["postgres"]["image"]
    assert GITLAB["variables"]["POSTGRES_PASSWORD"] == GITLAB["variables"]["PGPASSWORD"]
    parts = conninfo.conninfo_to_dict(GITLAB["variables"]["DATABASE_URL"])
    assert parts["host"] == GITLAB["services"][0]["alias"]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make what actions/setup-python leaves, and return its programs' folder."""
    folder = tmp_path_factory.mktemp("python")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder / "bin"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Make what actions/checkout leaves: the tree, and nothing that git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True,
    )  # fmt: skip
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path


def run_steps(checkout: Path, python: Path, url: str) -> Completed:
    """Run the job's steps as the runner does, until one fails; the server stands at another place."""
    password = conninfo.conninfo_to_dict(url)["password"]
    elsewhere = conninfo.make_conninfo(url, password=None, dbname="mcp_portal")
    environment = {**JOB["env"], "PGPASSWORD": str(password), "DATABASE_URL": elsewhere}
    path = f"{python}:{os.environ['PATH']}"
    for step in STEPS:
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step],
            cwd=checkout, env=clean_environment() | environment | {"PATH": path, "CI": "true"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        if done.returncode:
            break
    return done


def cases(checkout: Path) -> tuple[int, int]:
    """Return the tests and the failures that the JUnit report counts."""
    root = ET.parse(checkout / "isolation.xml").getroot()  # noqa: S314 - our own file
    return int(root.get("tests", 0)), int(root.get("failures", 0))


def holds_its_word(checkout: Path, python: Path, url: str) -> None:
    """Green as the tree is; red with a policy weakened in it, and every report is there."""
    done = run_steps(checkout, python, url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✓ Isolation holds" in done.stdout and "not run: pgTAP (left out by --without-pgtap)" in done.stdout
    tests, failures = cases(checkout)
    assert tests > 7000 and failures == 0
    weakened = next(checkout.glob("policies/*_teams_policies.sql"))
    text = weakened.read_text(encoding="utf-8")
    holed = re.sub(r"(CREATE POLICY teams_isolation .*?USING ).*?;", r"\1(true);", text, count=1, flags=re.DOTALL)
    assert holed != text
    weakened.write_text(holed, encoding="utf-8")
    for name in ("xml", "sarif", "html"):
        (checkout / f"isolation.{name}").unlink()
    done = run_steps(checkout, python, url)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "SELECT on public.teams reaches 3 rows" in done.stdout
    assert cases(checkout)[1] > 0
    for name in ("sarif", "html"):
        assert "public.teams" in (checkout / f"isolation.{name}").read_text(encoding="utf-8")
    assert not ask(url, "SELECT datname FROM pg_database WHERE datname LIKE 'portaldb_verify%%'")


def test_recipe_is_green_and_notices_a_hole(server: str, login: Login, checkout: Path, python: Path) -> None:
    """Its own steps, in a fresh environment, with a password as the service has one."""
    holds_its_word(checkout, python, login(server, options="SUPERUSER"))


@pytest.fixture
def bare() -> Iterator[str]:
    """Start a server without what only our image loads, as PostgreSQL's official one is."""
    with start_container("-c shared_preload_libraries=") as container:
        yield container.url


@pytest.mark.docker
def test_recipe_holds_on_a_bare_server(bare: str, checkout: Path, python: Path) -> None:
    """Neither pg_cron nor pg_stat_statements is loaded in the service container of the recipe."""
    holds_its_word(checkout, python, bare)
