"""The loop: observe, diff, act; woken by a notice, by the engine or by the clock, until it is told to end."""

import dataclasses
import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg

from portaldb.encryption import DecryptError, Keyring, KeyringError, config_context, decrypt
from portaldb.errors import ConnectError
from portaldb.runner.engine import Docker, Engine, EngineFailedError, EngineGoneError
from portaldb.runner.reconcile import STOP_FAILED, Action, Row, Seen, backoff, diff, judge
from portaldb.runner.settings import Policy, Spec
from portaldb.runner.store import Claim, Store
from portaldb.runner.watch import Watch, serving

_SLICE = 0.2
"""Seconds for which a wait is deaf to what the workers did."""
_ROUNDS = 50
_SWEEP = 60.0
_GRACE = 10
"""Seconds to stop in, for what has no settings that say it."""


@dataclass(frozen=True)
class Options:
    """How the loop runs."""

    policy: Policy = field(default_factory=Policy)
    once: bool = False
    drain: bool = False
    resync: float = 10.0
    lease: float = 60.0
    workers: int = 4
    instance: str | None = None
    json_logs: bool = False
    listen: tuple[str, int] | None = None


class LostClaimError(Exception):
    """Another runner took the work over."""


class Runner:
    """A runner: one loop, a few workers, and what they share."""

    _store: Store
    _engine: Engine

    def __init__(self, url: str, keys: Callable[[], Keyring], options: Options) -> None:
        """Take where the rows are, how the keys are read, and the options."""
        self._url, self._keys, self._options = url, keys, options
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._stop, self._again = threading.Event(), threading.Event()
        self._draining = False
        self._busy: dict[UUID, Future[None]] = {}
        self._later: dict[UUID, tuple[int, float]] = {}
        self._pulling: dict[str, threading.Lock] = {}
        self._unpulled: dict[str, tuple[float, EngineFailedError]] = {}
        self._swept = 0.0
        self._watch = Watch(3 * options.resync + 30)

    def run(self) -> None:
        """Work until a signal ends it, or with `once` until nothing is left to do. Raises ConnectError for `once`."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        failures = 0
        with serving(self._watch, self._options.listen), ThreadPoolExecutor(self._options.workers, "runner") as pool:
            while True:
                looks = self._watch.looks
                try:
                    self._connected(pool)
                    return
                except (psycopg.Error, ConnectError, EngineGoneError, EngineFailedError) as error:
                    failures = failures + 1 if looks == self._watch.looks else 1
                    self.log("disconnected", level="error", what=type(error).__name__, said=_line(error))
                    if self._options.once:
                        raise ConnectError(f"The runner could not work: {_line(error)}") from None
                if self._stop.wait(min(5.0, 0.2 * failures)):
                    return

    def _connected(self, pool: ThreadPoolExecutor) -> None:
        with closing(Store(self._url, self._owner, self._options.lease)) as self._store:
            try:
                instance = self._options.instance or self._store.instance()
                self._engine = Docker(instance)
                # Of an earlier connection: nothing of it is under way any more.
                self._store.release_all()
                self._later.clear()
                self.log("connected", instance=instance, owner=self._owner)
                if not self._options.once:
                    threading.Thread(target=self._listen, args=(self._engine,), daemon=True).start()
                    self._forever(pool)
                else:
                    self._settle(pool)
                if self._options.drain:
                    self._draining = True
                    self._settle(pool)
            finally:
                self._finish()
            self._store.release_all()
            self.log("ended")

    def _listen(self, engine: Engine) -> None:
        """Let the engine wake the loop. It tells not all, and falls silent: the list is the truth."""
        while engine is self._engine and not self._stop.is_set():
            with suppress(EngineGoneError, EngineFailedError):
                for _ in engine.ends():
                    self._again.set()
            self._stop.wait(1)

    def _forever(self, pool: ThreadPoolExecutor) -> None:
        while not self._stop.is_set():
            self._again.clear()
            due = self._pass(pool)
            until = time.monotonic() + min([self._options.resync, *due])
            while not self._stop.is_set() and not self._again.is_set() and time.monotonic() < until:
                if self._store.heard(min(_SLICE, max(0.0, until - time.monotonic()))):
                    break

    def _settle(self, pool: ThreadPoolExecutor) -> None:
        for _ in range(_ROUNDS):
            self._pass(pool)
            if not self._busy or (self._stop.is_set() and not self._draining):
                return
            self._finish()

    def _finish(self) -> None:
        for work in self._busy.values():
            work.exception()
        self._busy.clear()

    def _rows(self, seen: Iterable[UUID], only: UUID | None = None) -> list[Row]:
        rows = self._store.rows(seen, only)
        return [dataclasses.replace(row, wanted=False) for row in rows] if self._draining else rows

    def _pass(self, pool: ThreadPoolExecutor) -> list[float]:
        """Look once, and hand out what is to be done; return in how many seconds something comes due."""
        began = time.monotonic()
        self._busy = {key: work for key, work in self._busy.items() if not work.done()}
        # The engine first: a container that is seen has had its row before.
        seen = self._engine.seen()
        rows = self._rows({each.config_id for each in seen})
        todo = [
            each
            for each in diff(rows, seen, self._options.policy)
            if each.config_id not in self._busy and self._later.get(each.config_id, (0, 0.0))[1] <= began
        ]
        fresh = [a.config_id for a in todo if a.verb == "start" and a.row and a.row.state in (None, "stopped")]
        if fresh:
            self._store.pending(fresh)
        for action in todo:
            self._busy[action.config_id] = pool.submit(self._work, action)
        if began > self._swept + _SWEEP or self._options.once:
            self._engine.sweep([each for each in seen if each.holder], self._store.leased)
            self._swept = began
        waiting = [row.age for row in rows if row.wanted and row.state in (None, "pending", "creating")]
        self._watch.looked(
            time.monotonic() - began,
            Counter(row.state or "pending" for row in rows),
            sum(each.running for each in seen),
            max(waiting, default=0.0),
        )
        due = [row.due_in for row in rows if row.state == "error" and row.due_in is not None and row.due_in > 0]
        return [max(0.1, each) for each in (*due, *(when - began for _, when in self._later.values() if when > began))]

    def _work(self, action: Action) -> None:
        key = action.config_id
        try:
            if action.row is None:
                self._remove(action)
            else:
                self._claimed(action)
            self._later.pop(key, None)
        except LostClaimError:
            self.log("let go", config=key)
        except Exception as error:  # one row must not end the others' work, nor be tried in a hot loop
            known = isinstance(error, EngineGoneError | EngineFailedError | psycopg.Error)
            said = _line(error) if known else type(error).__name__
            self.log("failed", level="error", config=key, verb=action.verb, said=said)
            failures = self._later.get(key, (0, 0.0))[0] + 1
            self._later[key] = (failures, time.monotonic() + backoff(failures) / 5)
        finally:
            self._again.set()

    def _remove(self, action: Action) -> None:
        for each in action.seen:
            # Only whoever removed it says so.
            if self._engine.remove(each.id, _GRACE):
                self._store.audit_removed(each.config_id, each.id)
                self.log("removed", config=each.config_id, container=each.id[:12])

    def _claimed(self, action: Action) -> None:
        """Take the row in hand, look at it and its containers again, and do what is right then."""
        claim = self._store.claim(action.config_id)
        if claim is None:
            time.sleep(0.5)  # another runner's: its work will show
            return
        try:
            seen = tuple(each for each in self._engine.seen(action.config_id) if not each.holder)
            rows = self._rows((claim.id,), claim.id)
            again = judge(rows[0], seen, self._options.policy) if rows else None
            if again:
                self._do(claim, again)
        finally:
            self._store.release(claim)

    def _do(self, claim: Claim, action: Action) -> None:
        row, seen = action.row, action.seen
        assert row is not None  # noqa: S101 - one without is an orphan's
        first = next((each for each in seen if each.running), seen[0] if seen else None)
        self.log(action.verb, config=row.id, why=action.why)
        try:
            if first and (action.verb in ("adopt", "steady") or (action.verb == "compare" and self._same(row, first))):
                # What has the same secret, encrypted anew, is as good as what the row holds now.
                ran = first.stamp if action.verb == "adopt" else row.stamp
                count = 0 if action.verb == "steady" else row.restart_count
                self._record(claim, row, "running", container_id=first.id, restart_count=count, seen=ran.generation)
            elif first and action.verb == "fail":
                raise self._failure(row, first)
            else:
                self._clear(claim, row, seen, action.spec)
                if action.verb in ("stop", "settle"):
                    self._record(claim, row, "stopped")
                elif action.verb == "refuse":
                    self._record(claim, row, "error", reason="Refused", message=action.why)
                elif action.spec:
                    self._start(claim, row, action.spec)
        except EngineFailedError as error:
            count = 1 if row.changed else row.restart_count + 1
            kept = first.id if first and (action.verb == "fail" or error.reason == STOP_FAILED) else None
            self._record(
                claim, row, "error", container_id=kept, reason=error.reason, message=str(error), restart_count=count,
                retry_after=backoff(count),
            )  # fmt: skip

    def _record(self, claim: Claim, row: Row, state: str, **notes: Any) -> None:  # noqa: ANN401
        if not self._store.record(claim, state, wanted=row.stamp.generation, **notes):
            raise LostClaimError
        self.log("state", config=row.id, state=state, reason=notes.get("reason"), retry_after=notes.get("retry_after"))

    def _failure(self, row: Row, ended: Seen) -> EngineFailedError:
        how = self._engine.verdict(ended.id)
        if how.out_of_memory:
            return EngineFailedError("OOMKilled", "it took more memory than it may")
        said = f"it ended with exit code {how.exit_code}"
        return EngineFailedError("CrashLoop" if row.restart_count else "Exited", said)

    def _clear(self, claim: Claim, row: Row, seen: tuple[Seen, ...], spec: Spec | None) -> None:
        for each in seen:
            if each.running:
                self._record(claim, row, "stopping", container_id=each.id, restart_count=row.restart_count)
            self._engine.remove(each.id, spec.grace_seconds if spec else _GRACE)

    def _start(self, claim: Claim, row: Row, spec: Spec) -> None:
        count = 0 if row.changed else row.restart_count
        self._record(claim, row, "creating", restart_count=count, served=row.restart_requested_at)
        self._fetch(claim, spec.image)
        secret = self._secret(row)
        if not self._store.renew(claim):
            raise LostClaimError
        started = self._engine.start(row.id, row.stamp, spec, secret)
        self._record(claim, row, "running", container_id=started, restart_count=count, seen=row.stamp.generation)

    def _fetch(self, claim: Claim, image: str) -> None:
        """Pull an image once, however many rows want it; what failed a moment ago is not asked for again."""
        renewed = time.monotonic()

        def beat(said: str) -> None:
            nonlocal renewed
            if self._stop.is_set():
                raise LostClaimError  # nobody waits for a pull to end
            if time.monotonic() > renewed + self._options.lease / 4:
                renewed = time.monotonic()
                self.log("pulling", image=image, said=said)
                if not self._store.renew(claim):
                    raise LostClaimError

        lock = self._pulling.setdefault(image, threading.Lock())
        while not lock.acquire(timeout=1):
            beat("waiting for another's pull")
        try:
            failed_at, error = self._unpulled.get(image, (float("-inf"), None))
            if error is not None and time.monotonic() < failed_at + 4:
                raise error
            try:
                self._engine.fetch(image, beat)
            except EngineFailedError as failed:
                self._unpulled[image] = (time.monotonic(), failed)
                raise
            self._unpulled.pop(image, None)
        finally:
            lock.release()

    def _same(self, row: Row, seen: Seen) -> bool:
        """Say whether what a container was given is what the row holds, as after a rotation of the keys."""
        with suppress(EngineFailedError):
            secret = self._secret(row)
            return secret is not None and secret == self._engine.secret(seen.id)
        return False

    def _secret(self, row: Row) -> str | None:
        """Return what the row holds in secret. Raises EngineFailedError with DecryptFailed."""
        value = self._store.secret(row.id)
        if value is None:
            return None
        try:
            where = config_context(row.user_id, row.server_id)
            return decrypt(value, self._keys(), context=where, allow_unbound=True)
        except (DecryptError, KeyringError) as error:
            said = "the keys cannot be read" if isinstance(error, KeyringError) else str(error)
        raise EngineFailedError("DecryptFailed", said)

    def log(self, event: str, *, level: str = "info", **fields: object) -> None:
        """Write one line on standard error; nothing of a configuration is ever among the fields."""
        named = {name: str(each) for name, each in fields.items() if each is not None}
        self._watch.happened(event, named.get("state", ""), named.get("reason", ""))
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        if self._options.json_logs:
            line = json.dumps({"time": now, "level": level, "event": event, **named})
        else:
            line = " ".join([now, level, event, *(f"{name}={each}" for name, each in named.items())])
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
