"""The loop: observe, diff, act; woken by a notice or by the clock, until it is told to end."""

import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg

from portaldb.encryption import DecryptError, Keyring, KeyringError, config_context, decrypt
from portaldb.errors import ConnectError
from portaldb.runner.engine import Docker, Engine, EngineFailedError, EngineGoneError
from portaldb.runner.reconcile import Action, Row, Seen, backoff, diff, judge
from portaldb.runner.settings import Policy, Spec
from portaldb.runner.store import Claim, Store

_SLICE = 0.2
"""Seconds for which a wait is deaf to what the workers did."""
_ROUNDS = 50
_SWEEP = 60.0


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


class LostClaimError(Exception):
    """Another runner took the work over."""


class Runner:
    """A runner: one loop, a few workers, and what they share."""

    def __init__(self, url: str, keys: Callable[[], Keyring], options: Options) -> None:
        """Take where the rows are, how the keys are read, and the options."""
        self._url, self._keys, self._options = url, keys, options
        self._owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._stop, self._again = threading.Event(), threading.Event()
        self._busy: dict[UUID, Future[None]] = {}
        self._pulling: dict[str, threading.Lock] = {}
        self._unpulled: dict[str, tuple[float, EngineFailedError]] = {}
        self._swept = 0.0
        self._engine: Engine | None = None

    def run(self) -> None:
        """Work until a signal ends it, or with `once` until nothing is left to do. Raises ConnectError for `once`."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop.set())
        failures = 0
        with ThreadPoolExecutor(self._options.workers, "runner") as pool:
            while True:
                try:
                    self._connected(pool)
                    return
                except (psycopg.Error, ConnectError, EngineGoneError, EngineFailedError) as error:
                    failures += 1
                    self.log("disconnected", level="error", what=type(error).__name__, said=_line(error))
                    if self._options.once:
                        raise ConnectError(f"The runner could not work: {_line(error)}") from None
                if self._stop.wait(min(5.0, 0.2 * failures)):
                    return

    def _connected(self, pool: ThreadPoolExecutor) -> None:
        store = Store(self._url, self._owner, self._options.lease)
        try:
            instance = self._options.instance or store.instance()
            self._engine = self._engine or Docker(instance)
            self.log("connected", instance=instance, owner=self._owner)
            if self._options.once:
                self._settle(store, pool)
            else:
                self._forever(store, pool)
            if self._options.drain:
                self._drain(store, pool)
            self._finish()
            store.release_all()
            self.log("ended")
        finally:
            self._finish()
            store.close()

    def _forever(self, store: Store, pool: ThreadPoolExecutor) -> None:
        while not self._stop.is_set():
            self._again.clear()
            due = self._pass(store, pool)
            until = time.monotonic() + min([self._options.resync, *due])
            while not self._stop.is_set() and not self._again.is_set() and time.monotonic() < until:
                if store.heard(min(_SLICE, max(0.0, until - time.monotonic()))):
                    break

    def _settle(self, store: Store, pool: ThreadPoolExecutor) -> None:
        for _ in range(_ROUNDS):
            self._pass(store, pool)
            if not self._busy or self._stop.is_set():
                return
            self._finish()

    def _finish(self) -> None:
        for work in list(self._busy.values()):
            work.exception()
        self._busy.clear()

    def _pass(self, store: Store, pool: ThreadPoolExecutor) -> list[float]:
        """Look once, and hand out what is to be done; return in how many seconds something comes due."""
        assert self._engine is not None  # noqa: S101 - _connected made it
        self._busy = {key: work for key, work in self._busy.items() if not work.done()}
        # The engine first: a container that is seen has had its row before.
        seen = self._engine.seen()
        rows = store.rows({each.config_id for each in seen})
        todo = [each for each in diff(rows, seen, self._options.policy) if each.config_id not in self._busy]
        fresh = [a.config_id for a in todo if a.verb == "start" and a.row and a.row.state in (None, "stopped")]
        if fresh:
            store.pending(fresh)
        for action in todo:
            self._busy[action.config_id] = pool.submit(self._work, store, action)
        if time.monotonic() > self._swept + _SWEEP or self._options.once:
            self._engine.sweep(store.leased() | set(self._busy) | {each.config_id for each in seen if not each.holder})
            self._swept = time.monotonic()
        return [max(0.1, row.due_in) for row in rows if row.wanted and row.due_in is not None and row.state == "error"]

    def _drain(self, store: Store, pool: ThreadPoolExecutor) -> None:
        assert self._engine is not None  # noqa: S101
        self._finish()
        seen = self._engine.seen()
        rows = {row.id: row for row in store.rows({each.config_id for each in seen})}
        for each in seen:
            row = rows.get(each.config_id)
            if row and not each.holder:
                self._busy[each.config_id] = pool.submit(
                    self._claimed, store, Action("stop", row.id, row, (each,)), None
                )
        self._finish()

    def _work(self, store: Store, action: Action) -> None:
        try:
            if action.row is None:
                self._remove(store, action)
            else:
                self._claimed(store, action, self._options.policy)
        except LostClaimError:
            self.log("let go", config=action.config_id)
        except (EngineGoneError, EngineFailedError, psycopg.Error) as error:
            self.log("failed", level="error", config=action.config_id, verb=action.verb, said=_line(error))
            time.sleep(0.5)  # whoever is gone is not asked in a hot loop
        except Exception as error:  # one row must not end the others' work
            self.log("failed", level="error", config=action.config_id, verb=action.verb, said=type(error).__name__)
            time.sleep(0.5)
        finally:
            self._again.set()

    def _remove(self, store: Store, action: Action) -> None:
        assert self._engine is not None  # noqa: S101
        for each in action.seen:
            # Only whoever removed it says so.
            if self._engine.remove(each.id, 10):
                store.audit_removed(each.config_id, each.id)
                self.log("removed", config=each.config_id, container=each.id[:12])

    def _claimed(self, store: Store, action: Action, policy: Policy | None) -> None:
        """Take the row in hand, look at it and its containers again, and do what is right then."""
        assert self._engine is not None  # noqa: S101
        claim = store.claim(action.config_id)
        if claim is None:
            time.sleep(0.5)  # another runner's: its work will show
            return
        try:
            seen = tuple(each for each in self._engine.seen(action.config_id) if not each.holder)
            rows = store.rows({action.config_id}, action.config_id)
            if not rows:
                return
            again = judge(rows[0], seen, policy) if policy else Action("stop", rows[0].id, rows[0], seen)
            if again is not None:
                self._do(store, claim, again)
        finally:
            store.release(claim)

    def _do(self, store: Store, claim: Claim, action: Action) -> None:
        row, seen, spec = action.row, action.seen, action.spec
        assert row is not None and self._engine is not None  # noqa: S101
        first = next((each for each in seen if each.running), seen[0] if seen else None)
        self.log(action.verb, config=row.id, why=action.why)
        if action.verb in ("adopt", "steady") and first:
            count = 0 if action.verb == "steady" else row.restart_count
            ran = row.generation if action.verb == "steady" else first.generation
            self._record(store, claim, row, "running", container_id=first.id, restart_count=count, seen=ran)
        elif action.verb == "compare" and first and self._same_secret(store, row, first):
            notes = {"container_id": first.id, "restart_count": row.restart_count, "seen": row.generation}
            self._record(store, claim, row, "running", **notes)
        elif action.verb == "fail" and first:
            how = self._engine.verdict(first.id)
            reason = "OOMKilled" if how.out_of_memory else "CrashLoop" if row.restart_count else "Exited"
            said = (
                "it took more memory than it may" if how.out_of_memory else f"it ended with exit code {how.exit_code}"
            )
            self._error(store, claim, row, reason, said, first.id)
        elif action.verb in ("stop", "settle", "refuse"):
            self._clear(store, claim, row, seen, spec)
            if action.verb == "refuse":
                self._record(store, claim, row, "error", reason="Refused", message=action.why)
            else:
                self._record(store, claim, row, "stopped")
        elif spec is not None:
            self._clear(store, claim, row, seen, spec)
            self._start(store, claim, row, spec)

    def _record(self, store: Store, claim: Claim, row: Row, state: str, **notes: Any) -> None:  # noqa: ANN401
        if not store.record(claim, state, wanted=row.generation, **notes):
            raise LostClaimError
        self.log("state", config=row.id, state=state, reason=notes.get("reason"), retry_after=notes.get("retry_after"))

    def _error(
        self, store: Store, claim: Claim, row: Row, reason: str, said: str, container_id: str | None = None
    ) -> None:
        same = row.generation_wanted == row.generation
        count = row.restart_count + 1 if same else 1
        self._record(
            store, claim, row, "error", container_id=container_id, reason=reason, message=said, restart_count=count,
            retry_after=backoff(count),
        )  # fmt: skip

    def _clear(self, store: Store, claim: Claim, row: Row, seen: tuple[Seen, ...], spec: Spec | None) -> None:
        assert self._engine is not None  # noqa: S101
        for each in seen:
            if each.running:
                notes = {"container_id": each.id, "restart_count": row.restart_count}
                self._record(store, claim, row, "stopping", **notes)
            self._engine.remove(each.id, spec.grace_seconds if spec else 10)

    def _start(self, store: Store, claim: Claim, row: Row, spec: Spec) -> None:
        assert self._engine is not None  # noqa: S101
        count = row.restart_count if row.generation_wanted == row.generation else 0
        self._record(store, claim, row, "creating", restart_count=count)
        try:
            self._fetch(store, claim, spec.image)
            secret = self._secret(store, row)
            if not store.renew(claim):
                raise LostClaimError
            started = self._engine.start(row.id, (row.generation, row.settings), spec, secret)
        except EngineFailedError as error:
            self._error(store, claim, row, error.reason, str(error))
            return
        self._record(store, claim, row, "running", container_id=started, restart_count=count, seen=row.generation)

    def _fetch(self, store: Store, claim: Claim, image: str) -> None:
        """Pull an image once, however many rows want it; what failed a moment ago is not asked for again."""
        assert self._engine is not None  # noqa: S101
        renewed = time.monotonic()

        def beat(said: str) -> None:
            nonlocal renewed
            if self._stop.is_set():
                raise LostClaimError  # nobody waits for a pull to end
            if time.monotonic() > renewed + self._options.lease / 4:
                renewed = time.monotonic()
                self.log("pulling", image=image, said=said)
                if not store.renew(claim):
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

    def _same_secret(self, store: Store, row: Row, seen: Seen) -> bool:
        """Say whether what a container was given is what the row holds, as after a rotation of the keys."""
        assert self._engine is not None  # noqa: S101
        with suppress(EngineFailedError):
            secret = self._secret(store, row)
            return secret is not None and secret == self._engine.secret(seen.id)
        return False

    def _secret(self, store: Store, row: Row) -> str | None:
        """Return what the row holds in secret. Raises EngineFailedError with DecryptFailed."""
        value = store.secret(row.id)
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
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        if self._options.json_logs:
            line = json.dumps({"time": now, "level": level, "event": event, **named})
        else:
            line = " ".join([now, level, event, *(f"{name}={each}" for name, each in named.items())])
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
