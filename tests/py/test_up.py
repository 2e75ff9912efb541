"""scripts/up and what it shares: what it says, what it leaves alone, and what a fresh Debian has after it."""

import os
import secrets
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT, Completed, Container, clean_environment, drop_database
from psycopg import conninfo


def bash(script: str, *, cwd: Path = ROOT, env: dict[str, str] | None = None) -> Completed:
    """Run a few lines of bash with the functions of scripts/lib.sh."""
    return subprocess.run(
        ["bash", "-c", f". scripts/lib.sh\n{script}", "test"],
        capture_output=True, text=True, check=False, cwd=cwd, env=clean_environment() | (env or {}),
    )  # fmt: skip


def up(*words: str, env: dict[str, str] | None = None) -> Completed:
    """Run scripts/up."""
    return subprocess.run(
        [ROOT / "scripts/up", *words],
        capture_output=True, text=True, check=False, env=clean_environment() | (env or {}), stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_help_and_unknown_words() -> None:
    """Help is a success; a word that means nothing is not, and shows what does."""
    assert up("--help").returncode == 0
    unknown = up("--stpo")
    assert unknown.returncode == 2
    assert "'--stpo'" in unknown.stderr
    assert "--stop " in unknown.stderr


def test_reset_asks_first() -> None:
    """Without an answer nothing is lost."""
    refused = up("--reset")
    assert refused.returncode == 1
    assert "Nothing was changed." in refused.stdout


def test_step_that_fails_shows_its_words_and_the_way_on() -> None:
    """The end of the output, its status, the log's place and the advice; and the status is the script's."""
    done = bash("""step "Doing this" "Then do that." sh -c 'echo on the way; echo it broke >&2; exit 9'""")
    assert done.returncode == 9
    assert "it broke" in done.stdout
    said = " ".join(done.stderr.split())
    assert said.startswith("Error: Doing this failed (exit status 9)")
    assert ".portaldb/log/test.log" in said
    assert said.endswith("Then do that.")


def test_step_that_works_is_one_line() -> None:
    """What a command prints is in the log, not on the screen."""
    done = bash("""step "Doing this" "Then do that." sh -c 'echo chatter'""")
    assert done.returncode == 0
    assert done.stdout.split() == ["Doing", "this", "0", "s"]
    assert "chatter" in (ROOT / ".portaldb/log/test.log").read_text()


def test_packages_that_are_there_are_not_installed_again(tmp_path: Path) -> None:
    """With nothing missing, apt is not even asked; what is missing without root or sudo is named."""
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\necho apt-get was called; exit 99\n")
    apt.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = bash("names_of() { echo bash coreutils; }; packages python", env={"PATH": path})
    assert (done.returncode, done.stdout) == (0, "")
    asked = bash("names_of() { echo bash no-such-package; }; packages python", env={"PATH": path})
    if os.geteuid() == 0:
        assert asked.returncode == 99
        assert "apt-get was called" in asked.stdout


def test_given_server_is_used_and_none_is_started(server: str) -> None:
    """With DATABASE_URL, that server gets the roles, the database and the migrations, and no other is touched."""
    state = ROOT / ".portaldb/cluster.json"
    before = state.read_bytes() if state.exists() else None
    name = f"test_{secrets.token_hex(6)}"
    url = conninfo.make_conninfo(server, dbname=name)
    try:
        first = up(env={"DATABASE_URL": url})
        assert first.returncode == 0, first.stdout + first.stderr
        second = up(env={"DATABASE_URL": url})
        assert f"{name} on" in second.stdout
        assert " applied." in second.stdout
        refused = up("--reset", "--yes", env={"DATABASE_URL": url})
        assert refused.returncode == 2
        assert "DATABASE_URL names another server" in " ".join(refused.stderr.split())
    finally:
        drop_database(server, name)
    assert (state.read_bytes() if state.exists() else None) == before


INSIDE = """
set -eu
apt-get -q update
apt-get -q install --yes git
cp -r /checkout /root/portal
cd /root/portal
scripts/up
echo "== second"
before=$(date +%s)
scripts/up
echo "== took $(($(date +%s) - before)) s"
git status --porcelain
ls /usr/sbin/policy-rc.d /etc/postgresql-common/createcluster.d 2>/dev/null || true
ls -A /etc/postgresql
scripts/up --stop
"""


@pytest.mark.docker
@pytest.mark.soak
def test_fresh_debian_has_a_database_and_nothing_else(tmp_path: Path, container: Container) -> None:
    """On a Debian with nothing installed, as root, in root's own folder: a database, and no trace in the system."""
    clone = tmp_path / "checkout"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    # Debian as debootstrap leaves it, with this machine's network; pip trusts what this machine trusts
    trusted = Path("/etc/ssl/certs/ca-certificates.crt")
    trust = ["-v", f"{trusted}:/trusted.crt:ro", "-e", "PIP_CERT=/trusted.crt"] if trusted.exists() else []
    where = ["--rm", "--network", "host", "-v", f"{clone}:/checkout:ro", *trust, "mcp_portal-debian:trixie"]
    done = subprocess.run(["docker", "run", *where, "bash", "-c", INSIDE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    second = done.stdout.partition("== second")[2]
    assert "Installing" not in second
    assert "Making the Python environment" not in second
    took, _, left = second.partition("== took ")[2].partition(" s\n")
    assert int(took) < 20
    assert left.strip() == "Stopped; the data is kept.", "no changed file, no policy, no cluster of the system"
