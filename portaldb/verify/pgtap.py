"""pgTAP's tests, run by pg_prove on the throwaway database, and what it said of each file."""

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from portaldb import database
from portaldb.database import query
from portaldb.errors import EnvironmentMissingError, PortalError, UsageError
from portaldb.verify.access import DEFAULT, Access
from portaldb.verify.outcome import Outcome, TestFile
from portaldb.verify.run import Say

JOBS = 2
"""Files at a time. Ours take turns by themselves: each begins by making the same schema."""

_HEADING = re.compile(r"(?P<name>.+?) \.{2,} (?P<rest>.*)")
_PLAN = re.compile(r"1\.\.(?P<count>\d+)")
_SKIPPED = "skipped: "
_TEST = re.compile(r"(?P<result>ok|not ok) (?P<number>\d+)(?: (?:- )?(?P<said>.*))?")
EXCUSED = re.compile(r"# *(?:TODO|SKIP)", re.IGNORECASE)
"""TAP's own rule, as pg_prove has it: a `not ok` that says this is no failure."""
_ERROR = re.compile(r"psql:.*?: (?:ERROR|FATAL): +(?P<said>.*)|psql: error: (?P<told>.*)")
_ENDS = ("Test Summary Report", "All tests successful", "Files=", "Result: ")


@dataclass(frozen=True)
class Tests:
    """The files to run, or in words why there are none."""

    __test__ = False  # pytest takes classes of this name for tests

    files: tuple[Path, ...] = ()
    left_out: str = ""


def choose(url: str, access: Access, root: Path, *, left_out: bool) -> Tests:
    """Choose the tests: those that the access file names, or those beside our migrations with our own access file.

    Raises UsageError where the folder has none, EnvironmentMissingError where what runs them is not installed.
    """
    if left_out:
        return Tests(left_out="left out by --without-pgtap")
    folder = access.tests or (root / "tests/sql" if access.path == DEFAULT else None)
    if folder is None:
        return Tests(left_out="the access file names no tests")
    files = tuple(files_below(folder))
    require(url)
    return Tests(files)


def add(outcome: Outcome, url: str, tests: Tests, *, say: Say) -> Outcome:
    """Run the tests, and return the outcome with what came of them."""
    if not tests.files:
        return replace(outcome, without_tests=tests.left_out)
    began = time.monotonic()
    say(f"Running {len(tests.files)} files of pgTAP tests …", passing=True)
    done = run(url, tests.files)
    return replace(outcome, tests=done, seconds=outcome.seconds + time.monotonic() - began)


def files_below(folder: Path) -> list[Path]:
    """Return the test files of a folder; raise UsageError where it has none."""
    found = sorted(folder.glob("*.sql"))
    if not found:
        raise UsageError(
            f"There are no pgTAP tests in {folder}: no *.sql. Name their folder in the access file (settings.tests), "
            "or leave them out with --without-pgtap."
        )
    return found


def require(url: str) -> None:
    """Raise EnvironmentMissingError where pg_prove, psql or the server's pgTAP is not installed."""
    for program, package in (("pg_prove", "libtap-parser-sourcehandler-pgtap-perl"), ("psql", "postgresql-client")):
        if not shutil.which(program):
            raise EnvironmentMissingError(
                f"{program} is not installed, which runs the pgTAP tests. Install it (on Debian and Ubuntu: apt-get "
                f"install {package}), or leave the tests out with --without-pgtap."
            )
    with database.connect(database.with_database(url, "postgres"), name="portaldb verify") as connection:
        row = connection.execute(query("verify", "pgtap")).fetchone()
    if row and not row["available"]:
        raise EnvironmentMissingError(
            f"The server has no pgTAP extension, which the tests are written in. Install it there (on Debian and "
            f"Ubuntu: apt-get install postgresql-{row['major']}-pgtap; deploy/Dockerfile has it), or leave the tests "
            "out with --without-pgtap."
        )


def command(url: str, files: Sequence[Path], *options: str) -> tuple[list[str], dict[str, str]]:
    """Return pg_prove's command line, which holds no password, and its environment, which may.

    The database is named on the command line: a service file's would come before PGDATABASE.
    """
    import psycopg

    parts = {each.envvar: each.val for each in psycopg.pq.Conninfo.parse(url.encode()) if each.envvar and each.val}
    settings = {name.decode(): value.decode() for name, value in parts.items()}
    argv = ["pg_prove", "--norc", *options, "--dbname", database.database_name(url), *map(str, files)]
    return argv, dict(os.environ) | settings | {"PGCLIENTENCODING": "UTF8", "PGAPPNAME": "portaldb verify"}


def run(url: str, files: Sequence[Path]) -> list[TestFile]:
    """Run the files, all of one folder; raise PortalError where pg_prove itself fails."""
    folder = files[0].parent
    names = [file.name for file in files]
    options = ("--verbose", "--merge", "--nocolor", "--jobs", str(JOBS))
    argv, environment = command(url, [Path(name) for name in names], *options)
    # A group of its own: whatever ends this run ends the psql that pg_prove started, too.
    with subprocess.Popen(
        argv,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            said, _ = process.communicate()
        finally:
            if process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
    found = read(said, names)
    if process.returncode and all(each.ok for each in found):
        last = "\n  ".join(said.strip().splitlines()[-5:])
        raise PortalError(f"pg_prove failed (exit status {process.returncode}), and no test did. It said:\n  {last}")
    return found


def read(said: str, names: Sequence[str]) -> list[TestFile]:
    """Read what pg_prove printed with --verbose; a file that it did not get to is a failure, as is one cut short."""
    parts: dict[str, list[str]] = {name: [] for name in names}
    name = None
    for line in said.splitlines():
        heading = _HEADING.match(line)
        if heading and heading["name"] in parts and not parts[heading["name"]]:
            name = heading["name"]
            parts[name].append(heading["rest"])
        elif line.startswith(_ENDS):
            name = None
        elif name:
            parts[name].append(line)
    return [_file(name, lines) for name, lines in parts.items()]


def _file(name: str, lines: list[str]) -> TestFile:
    if lines and lines[0].startswith(_SKIPPED):
        return TestFile(name, 0, skipped=lines[0].removeprefix(_SKIPPED))
    plan = next(filter(None, map(_PLAN.fullmatch, lines)), None)
    tests = [test for test in map(_TEST.fullmatch, lines) if test]
    failed = [
        test["said"] or f"assertion {test['number']}"
        for test in tests
        if test["result"] == "not ok" and not EXCUSED.search(test["said"] or "")
    ]
    errors = [error["said"] or error["told"] for error in map(_ERROR.match, lines) if error]
    planned = int(plan["count"]) if plan else None
    if planned != len(tests) or errors:
        wanted = "no plan" if planned is None else f"{planned} assertions planned"
        failed.append("; ".join([f"{wanted}, {len(tests)} ran", *errors[:1]]))
    elif not failed and "ok" not in lines:
        failed.append(next((line for line in reversed(lines) if line), "pg_prove says nothing of it"))
    return TestFile(name, len(tests), tuple(failed))
