"""The clients of examples/ do what they say, through PgBouncer in transaction mode: each as another process."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import libraries
import psycopg
import pytest
from conftest import ROOT, Completed, Login, MakeDatabase, Pooler, Portaldb, clean_environment
from psycopg import conninfo
from support import ask, one

from portaldb.encryption import Keyring, config_context, decrypt
from scripts import api_reference

CLIENTS = {
    "python": [sys.executable, "examples/python/client.py"],
    "python, async": [sys.executable, "examples/python/client_async.py"],
    "node": ["node", "examples/node/client.cjs"],
}
# Node looks for packages beside the script first: npm install --prefix examples/node
PACKAGES = f"for (const name of ['jose', 'pg']) require(require.resolve(name, {{paths: ['{ROOT}/examples/node', ...\
module.paths, process.env.NODE_PATH]}}))"

SECRET = '{"token": "not a real one"}'


@pytest.fixture
def url(make_database: MakeDatabase) -> str:
    """Make a database."""
    return make_database(migrate=True)


@pytest.fixture
def keys(portaldb: Portaldb, tmp_path: Path) -> Path:
    """Make a key file."""
    path = tmp_path / "keys.json"
    portaldb("keys", "generate", "--keys", str(path), check=True)
    return path


@pytest.fixture
def service(url: str, keys: Path, login: Login, pooler: Pooler) -> dict[str, str]:
    """Return a service's settings: a login at a pooler of few backends, and a key file."""
    pooled = pooler(login(url, "portal_app"), "pool_mode = transaction", "default_pool_size = 2")
    parts = {key: quote(str(value), safe="") for key, value in conninfo.conninfo_to_dict(pooled).items()}
    return {
        "DATABASE_URL": "postgresql://{user}:{password}@localhost:{port}/{dbname}?host={host}".format(**parts),
        "PORTALDB_KEYS_FILE": str(keys),
        "PYTHONPATH": str(ROOT),
        "NODE_PATH": os.environ.get("NODE_PATH", "/usr/share/nodejs"),
    }


def run(client: str, settings: dict[str, str]) -> Completed:
    """Run a client to its end."""
    if client == "node":
        libraries._require_node(PACKAGES)
    return subprocess.run(
        CLIENTS[client],
        cwd=ROOT,
        env=clean_environment() | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("client", CLIENTS)
def test_example_runs(client: str, url: str, service: dict[str, str], keys: Path) -> None:
    """Sign in, enable, dashboard, export, sign out: each answers, and the database has what was done, once."""
    done = run(client, service)
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        answer = json.loads(line)
        answers[answer.pop("step")] = answer

    assert answers["sign in"] == {"outcome": "signed_in", "is_new": True}
    assert answers["enable"] == {"outcome": "enabled"}
    assert answers["dashboard"] == {"display_name": "Ada", "total_servers": 1, "enabled_servers": 1}
    (exported,) = answers["export"]["configs"]
    assert (exported["name"], exported["enabled"], exported["has_secret"]) == ("github", True, True)
    assert answers["no such server"] == {"status": 404}
    assert answers["sign out"] == {"ended": 1}
    assert answers["after it"]["status"] == 401
    assert answers["after it"]["hint"]

    # The secret is the row's own, and nobody sees it on the way.
    ((user, server, value),) = ask(url, "SELECT user_id, server_id, encrypted_config FROM public.user_server_configs")
    assert decrypt(value, Keyring.load(keys), context=config_context(str(user), str(server))) == SECRET
    assert "not a real one" not in done.stdout
    assert value not in done.stdout

    query = "SELECT action, user_id, host(ip_address) FROM public.audit_logs"
    trail = ["user_created", "login", "config_updated", "server_enabled", "config_exported", "logout"]
    assert sorted(ask(url, query)) == sorted((action, user, "192.0.2.1") for action in trail)
    assert one(url, "SELECT count(*) FROM public.user_sessions WHERE is_active") == 0


@pytest.mark.parametrize("client", CLIENTS)
def test_example_is_refused(client: str, url: str, service: dict[str, str]) -> None:
    """A deactivated user: 403 to the client, and the refusal stays in the audit trail; the second time as the first."""
    assert run(client, service).returncode == 0
    ask(url, "UPDATE public.users SET is_active = false")
    for times in (1, 2):
        done = run(client, service)
        assert done.returncode == 1
        assert "403 the user is deactivated" in done.stderr
        assert one(url, "SELECT count(*) FROM public.audit_logs WHERE action = 'login_refused'") == times


@pytest.mark.parametrize("client", CLIENTS)
def test_example_tries_again(client: str, url: str, service: dict[str, str]) -> None:
    """A lock that does not come in time is waited for in three transactions, and is 503 after that."""
    assert run(client, service).returncode == 0
    user = re.search(r"//(\w+):", service["DATABASE_URL"])
    assert user
    ask(url, f"ALTER ROLE {user[1]} SET lock_timeout = '100ms'")
    ask(url, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{user[1]}'")
    with psycopg.connect(url) as connection:
        connection.execute("SELECT FROM public.users FOR UPDATE")
        began = time.monotonic()
        done = run(client, service)
        assert done.returncode == 1
        assert re.search(r"\b503 canceling statement due to lock timeout", done.stderr)
        assert time.monotonic() - began > 0.3
    assert run(client, service).returncode == 0


@pytest.mark.parametrize("file", ["python/client.py", "node/client.cjs"])
def test_example_maps_errors_as_the_page_does(file: str) -> None:
    """The HTTP statuses of a client, and what it tries again, are those of docs/api.md."""
    text = (ROOT / "examples" / file).read_text(encoding="utf-8")
    (statuses,) = re.findall(r"STATUS = \{(.+?)\}", text)
    (again,) = re.findall(r"AGAIN = (?:new Set\(\[|\{)(.+?)[}\]]", text)
    told = {code: status for code, (status, *_) in api_reference.HTTP.items()}
    for code, status in re.findall(r'"?(\w{5})"?: (\d{3})', statuses):
        assert told[code] == int(status), code
    assert set(re.findall(r"\w{5}", again)) == {code for code, status in told.items() if status == 503}
