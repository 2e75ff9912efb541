"""What the tests of the engine share: made-up series, plain yoyo, a command under way, questions to the server."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import psycopg
import pytest
from conftest import ROOT, Completed, clean_environment
from psycopg import conninfo

PATIENCE = 30
"""Seconds that a test waits for what must happen."""

Text = subprocess.Popen[str]


def series(root: Path, up: Mapping[str, str], down: Mapping[str, str] | None = None) -> Path:
    """Write migrations `{id: SQL}` and their rollbacks for `portaldb --source ROOT` and `yoyo ROOT/migrations`."""
    folder = root / "migrations"
    folder.mkdir(parents=True, exist_ok=True)
    for name, sql in up.items():
        (folder / f"{name}.sql").write_text(sql, encoding="utf-8")
    for name, sql in (down or {}).items():
        (folder / f"{name}.rollback.sql").write_text(sql, encoding="utf-8")
    return root


def ask(url: str, query: str, *values: object) -> list[Any]:
    """Return the rows of a query; of one column, its values."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode(), values or None)
        rows = cursor.fetchall() if cursor.description else []
    return [row[0] for row in rows] if rows and len(rows[0]) == 1 else rows


def one(url: str, query: str, *values: object) -> Any:  # noqa: ANN401 - a value of the database
    """Return the one value of a query."""
    (value,) = ask(url, query, *values)
    return value


def until(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Wait for something that another process does and tells nobody; fail where it does not come."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {patience} s in vain for: {what}")
        time.sleep(0.01)


def waits_for_lock(url: str, application: str) -> Callable[[], bool]:
    """Return a condition: a session of that application waits for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
    return lambda: bool(one(url, query, application))


def no_session(url: str, application: str) -> Callable[[], bool]:
    """Return a condition: no session of that application is left."""
    return lambda: not one(url, "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", application)


@contextmanager
def command(*args: str, database: str, env: Mapping[str, str] | None = None) -> Iterator[Text]:
    """Start portaldb and leave it running; it is dead at the end of the block."""
    with running([sys.executable, "-m", "portaldb", *args], {"DATABASE_URL": database, **(env or {})}) as process:
        yield process


@contextmanager
def running(argv: list[str], env: Mapping[str, str]) -> Iterator[Text]:
    """Start a program and leave it running; it is dead at the end of the block."""
    with subprocess.Popen(
        argv,
        env=clean_environment() | dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)


def finish(process: Text) -> Completed:
    """Wait for a command that was started and return what it said."""
    out, err = process.communicate(timeout=PATIENCE * 2)
    return Completed(process.args, process.returncode, out, err)


def kill(process: Text) -> None:
    """End a command as a crash does."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def paragraph(done: Completed, code: int) -> str:
    """Hold a failure to its form: the exit code, no traceback, few lines; return its paragraph in one line."""
    said = done.stderr.strip()
    assert done.returncode == code, f"exit {done.returncode}, not {code}:\n{done.stdout}\n{said}"
    assert "Traceback" not in said + done.stdout, said
    last = re.split(r"^(?=Error:|Interrupted\.)", said, flags=re.MULTILINE)[-1]
    assert 0 < len(last.splitlines()) <= 6, last
    return " ".join(last.split())


# Plain yoyo ----------------------------------------------------------------------------------------------


def yoyo_url(url: str) -> str:
    """Return a libpq connection string in the form that yoyo reads."""
    parts = {key: str(value) for key, value in conninfo.conninfo_to_dict(url).items()}
    user = quote(parts["user"], safe="") + (f":{quote(parts['password'], safe='')}" if "password" in parts else "")
    where = urlencode([(key, parts[key]) for key in ("host", "port") if key in parts])
    return f"postgresql+psycopg://{user}@/{parts['dbname']}?{where}"


def yoyo_argv(verb: str, url: str, *folders: Path) -> list[str]:
    """Return the command line of plain yoyo."""
    options = ["--batch", "--no-config-file", "--database", yoyo_url(url)]
    return [sys.executable, "-m", "yoyo", verb, *options, *map(str, folders)]


def yoyo(verb: str, url: str, *folders: Path, check: bool = True) -> Completed:
    """Run plain yoyo as its documentation says."""
    done = subprocess.run(
        yoyo_argv(verb, url, *folders), env=clean_environment(), capture_output=True, text=True, check=False, timeout=60
    )
    if check and done.returncode != 0:
        pytest.fail(f"yoyo {verb}: exit {done.returncode}\n{done.stdout}\n{done.stderr}", pytrace=False)
    return done


def yoyo_list(url: str, *folders: Path) -> dict[str, str]:
    """Return what plain yoyo lists: 'A' or 'U' by id."""
    return {
        match[2]: match[1]
        for match in re.finditer(r"^([AU])\s+(\S+)", yoyo("list", url, *folders).stdout, re.MULTILINE)
    }


def environment_without_user() -> dict[str, str]:
    """Return an environment in which no PG* variable and no service file of the person who runs the tests counts."""
    return clean_environment() | {"PGSERVICEFILE": os.devnull, "PGPASSFILE": os.devnull}
