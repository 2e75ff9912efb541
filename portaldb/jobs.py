"""`portaldb jobs`: the registry, and its jobs run where pg_cron does not, with the same history.

A job is run by the procedure run_job(), as portal_maintenance; it writes the history and keeps a job from being run
twice at once. What is due is read from that history, by the server's clock and in GMT as pg_cron has it, so that this
and pg_cron can stand side by side.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import psycopg
from cronsim import CronSim, CronSimError

from portaldb import database as db
from portaldb.database import Connection, query, translated
from portaldb.engine import Say
from portaldb.errors import ConnectError, PortalError, RefusedError, RightsError, UsageError

RUNNER_KEY = 0x706F7274616C6A6F
"""One runner of due jobs at a time in a database; others wait, and take over when it ends."""

_RECONNECT = 30.0
"""Seconds after which the daemon tries at the latest again, while the server cannot be reached."""


@dataclass(frozen=True)
class Job:
    """A job with its last run."""

    name: str
    schedule: str
    command: str
    is_active: bool
    last_started_at: datetime | None
    last_finished_at: datetime | None
    last_result: str | None
    last_seconds: float | None
    last_calls: int | None
    last_affected: int | None
    last_note: str | None
    last_runner: str | None
    last_success_at: datetime | None
    now: datetime
    run_at: datetime | None
    """When its last run began, as far as the clock knows by now."""

    @property
    def previous(self) -> datetime | None:
        """The last moment at which it was to run; None where the schedule cannot be read."""
        return self._moment(reverse=True)

    @property
    def following(self) -> datetime | None:
        """The next moment at which it is to run; None where it is not active or the schedule cannot be read."""
        return self._moment(reverse=False) if self.is_active else None

    @property
    def due(self) -> bool:
        """Whether it was to run since it last did; one that never ran is due."""
        if not self.is_active or self.previous is None:
            return False
        return self.run_at is None or self.run_at < self.previous

    def _moment(self, *, reverse: bool) -> datetime | None:
        return next(_moments(self.schedule, self.now, reverse=reverse), None)

    def as_dict(self) -> dict[str, Any]:
        """Return it for a report in JSON."""
        told = {name: value for name, value in vars(self).items() if name not in ("now", "run_at")}
        return told | {"next_at": self.following, "due": self.due}


def _moments(schedule: str, now: datetime, *, reverse: bool) -> Iterator[datetime]:
    """Yield when a schedule comes next, or came last; nothing where it cannot be read."""
    # Backwards it begins before the moment that it is given: the minute under way is one that has come.
    with suppress(CronSimError):
        yield from CronSim(schedule, now.astimezone(UTC), reverse=reverse)


def missed(schedule: str, well_until: datetime, now: datetime) -> datetime | None:
    """Return the last moment but one of a schedule where nothing has been well since; one alone may be under way."""
    before = list(islice(_moments(schedule, now, reverse=True), 2))
    return before[1] if len(before) > 1 and well_until < before[1] else None


@dataclass(frozen=True)
class Run:
    """What came of a run."""

    job: str
    result: str
    started_at: datetime
    seconds: float | None
    calls: int
    affected: int
    note: str | None
    runner: str


def registry(connection: Connection) -> list[Job]:
    """Return the jobs by name; raise RefusedError where this database has no registry."""
    role = _role(connection)
    with db.reading(connection, role=role if role != "none" else None):
        return _jobs(connection)


def _role(connection: Connection) -> str:
    with translated("looking for the registry of jobs"):
        found = connection.execute(query("jobs", "reads")).fetchone()
    if not (found and found["there"]):
        raise RefusedError("This database has no history of jobs yet. Run `portaldb migrate` first.")
    return str(found["role"])


@contextmanager
def _running(url: str) -> Iterator[Connection]:
    """Give a connection that is portal_maintenance and may run jobs; raise where this login or server cannot."""
    with db.connect(url, name="portaldb jobs") as connection:
        found = db.facts(connection)
        if found.standby:
            raise RefusedError(
                f"{db.describe(url)} is a standby, where no job runs until it is promoted. Connect to the primary."
            )
        db.require_direct(connection, url)
        role = _role(connection)
        if role == "none":
            raise RightsError(
                f"The login {found.login} is no member of portal_maintenance, as which jobs run. Let one run, as a "
                f"superuser: GRANT portal_maintenance TO {found.login};"
            )
        with translated("becoming portal_maintenance"):
            connection.execute(query("jobs", "become"), {"role": role, "local": False})
        yield connection


def run(url: str, name: str) -> Run | None:
    """Run one job now, due or not; None where it is being run elsewhere. Raises UsageError where there is none."""
    with _running(url) as connection:
        if name not in (known := [job.name for job in registry_of(connection)]):
            raise UsageError(f"there is no job {name!r}. There are: {', '.join(known)}.")
        return _run(connection, name)


def registry_of(connection: Connection) -> list[Job]:
    """Return the jobs, on a connection that is portal_maintenance already."""
    with translated("reading the registry of jobs"):
        return _jobs(connection)


def _jobs(connection: Connection) -> list[Job]:
    return [Job(**row) for row in connection.execute(query("jobs", "list")).fetchall()]


def _run(connection: Connection, name: str) -> Run | None:
    elsewhere: list[str] = []

    def hear(notice: psycopg.errors.Diagnostic) -> None:
        if "is being run elsewhere" in (notice.message_primary or ""):
            elsewhere.append(name)

    connection.add_notice_handler(hear)
    failure: psycopg.Error | None = None
    try:
        connection.execute(query("jobs", "call"), {"name": name})
    except psycopg.Error as error:
        if db.is_lost(error) or isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.InsufficientPrivilege):
            raise db.server_error(error, f"running the job {name}") from None
        failure = error
    finally:
        connection.remove_notice_handler(hear)
    if elsewhere:
        return None
    with translated("reading the history of jobs"):
        row = connection.execute(query("jobs", "last"), {"name": name}).fetchone()
    if row is None or (failure and row["result"] != "failed"):
        raise db.server_error(failure, f"running the job {name}") if failure else PortalError(f"{name} left no trace.")
    return Run(**row)


def run_due(url: str) -> list[Run] | None:
    """Run what is due, once; None where another runner is at work."""
    with _running(url) as connection:
        if not _take(connection):
            return None
        return [found for found in (_run(connection, job.name) for job in _due(connection)) if found]


def _due(connection: Connection) -> list[Job]:
    return [job for job in registry_of(connection) if job.due]


def _take(connection: Connection) -> bool:
    with translated("taking the lock of runners"):
        row = connection.execute(query("jobs", "try_lock"), {"key": RUNNER_KEY}).fetchone()
    return bool(row and row["held"])


def daemon(url: str, tell: Callable[[Run], None], say: Say, *, every: float) -> None:
    """Run jobs when they are due, until SIGTERM or Ctrl-C; a job under way is finished first.

    Of several runners one works. What goes wrong with the server is told and tried again.
    """
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    pause = 1.0
    while not stop.is_set():
        try:
            with _running(url) as connection:
                pause = 1.0
                _serve(connection, tell, say, stop, every)
        except (ConnectError, RefusedError) as error:
            # A standby may be promoted, a server come back.
            say(f"{error} Trying again.")
            stop.wait(pause)
            pause = min(pause * 2, _RECONNECT)


def _serve(connection: Connection, tell: Callable[[Run], None], say: Say, stop: threading.Event, every: float) -> None:
    waiting = False
    while not stop.is_set() and not _take(connection):
        if not waiting:
            say("another runner is at work; waiting for it to end")
            waiting = True
        stop.wait(every)
    if not stop.is_set():
        say("running jobs when they are due")
    while not stop.is_set():
        for job in _due(connection):
            if stop.is_set():
                break
            found = _run(connection, job.name)
            if found:
                tell(found)
        stop.wait(every)


def sync(url: str) -> int | None:
    """Bring pg_cron to what the registry says, as the owner; return how many jobs changed, None without pg_cron."""
    with db.connect(url, name="portaldb jobs sync") as connection:
        db.require_owner(db.facts(connection))
        with translated("bringing pg_cron to what the registry says"), connection.transaction():
            connection.execute(query("jobs", "become"), {"role": db.OWNER, "local": True})
            found = connection.execute(query("jobs", "has_cron")).fetchone()
            if not (found and found["installed"]):
                return None
            row = connection.execute(query("jobs", "sync")).fetchone()
    return int(row["changed"]) if row else 0


def in_words(found: Run) -> str:
    """Say what came of a run, in a line."""
    seconds = "" if found.seconds is None else f" in {found.seconds:.1f} s"
    calls = f", {found.calls} calls" if found.calls > 1 else ""
    note = f": {found.note}" if found.note else ""
    return f"{found.job} {found.result}{seconds}, {found.affected:,} affected{calls}{note}"


def ago(when: datetime, now: datetime) -> str:
    """Say how long ago, or until when, in one unit."""
    seconds = int(abs((now - when).total_seconds()))
    size, unit = next((each for each in ((86400, "d"), (3600, "h"), (60, "min")) if seconds >= each[0] * 2), (1, "s"))
    return f"{seconds // size} {unit}"
