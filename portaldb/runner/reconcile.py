"""What is to be done: the difference of what is wanted and what is there, as a pure function."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from portaldb.runner.settings import Policy, RefusedSettingsError, Spec, resolve

STABLE = 60.0
"""Seconds after which a container that runs has got over its failures."""
STOP_FAILED = "StopFailed"


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a container was started for, as its labels say it."""

    generation: str = ""
    """A digest of all that it was started with; of the secret, of the encrypted value alone."""
    settings: str = ""
    """The same without the secret."""
    restart: str = ""
    """The restart that it served, if any."""


@dataclass(frozen=True, slots=True)
class Row:
    """A configuration as the database has it, with what the runner noted."""

    id: UUID
    user_id: UUID
    server_id: UUID
    wanted: bool
    image: str
    server_settings: str | None
    user_settings: str | None
    config_digest: str | None
    restart_requested_at: datetime | None
    restart_served: datetime | None
    state: str | None
    container_id: str | None
    reason: str | None
    message: str | None
    restart_count: int
    generation_wanted: str | None
    generation_seen: str | None
    due_in: float | None
    """Seconds until the next attempt; None where none is noted."""
    age: float
    """Seconds since the state changed."""
    stamp: Stamp = field(init=False)
    """What a container that is started now is for."""

    def __post_init__(self) -> None:
        parts = (self.image, self.server_settings, self.user_settings, self.config_digest is None)
        settings = _digest(json.dumps(parts))
        stamp = Stamp(_digest(f"{settings} {self.config_digest}"), settings, _text(self.restart_requested_at))
        object.__setattr__(self, "stamp", stamp)

    @property
    def changed(self) -> bool:
        """Whether other settings are wanted than at the last attempt."""
        return self.generation_wanted != self.stamp.generation

    @property
    def waits(self) -> bool:
        """Whether the next attempt is still to come."""
        return self.state == "error" and (self.due_in or 0) > 0 and not self.changed

    def restarts(self, *served: str) -> bool:
        """Say whether a restart was asked for that was not acted on: another value than any of those."""
        return self.stamp.restart not in ("", _text(self.restart_served), *served)


@dataclass(frozen=True, slots=True)
class Seen:
    """A container of ours as the engine has it."""

    id: str
    config_id: UUID
    stamp: Stamp
    running: bool
    ended: bool
    holder: bool = False


@dataclass(frozen=True)
class Action:
    """One thing to do."""

    verb: str
    """start, replace, stop, adopt, fail, refuse, settle, steady; compare where the secret alone may differ; remove for
    a container that no row wants."""
    config_id: UUID
    row: Row | None = None
    seen: tuple[Seen, ...] = ()
    spec: Spec | None = None
    why: str | None = None


def diff(rows: Iterable[Row], seen: Iterable[Seen], policy: Policy) -> Iterator[Action]:
    """Yield what makes the engine match the rows: at most one action a row, none where it matches."""
    there: dict[UUID, list[Seen]] = {}
    for each in seen:
        if not each.holder:
            there.setdefault(each.config_id, []).append(each)
    for row in rows:
        action = judge(row, tuple(there.pop(row.id, ())), policy)
        if action:
            yield action
    for config_id, orphans in there.items():
        yield Action("remove", config_id, seen=tuple(orphans))


def judge(row: Row, seen: tuple[Seen, ...], policy: Policy) -> Action | None:
    """Return what one row needs now, if anything."""
    action = _needs(row, seen, policy)
    # What would not be stopped is left alone for a while; that it runs as it should again is seen at once.
    stuck = row.waits and row.reason == STOP_FAILED and action and action.verb not in ("adopt", "steady")
    return None if stuck else action


def _needs(row: Row, seen: tuple[Seen, ...], policy: Policy) -> Action | None:
    if not row.wanted:
        if seen:
            return Action("stop", row.id, row, seen)
        return None if row.state in (None, "stopped") else Action("settle", row.id, row)
    try:
        spec = resolve(row.image, row.server_settings, row.user_settings, policy)
    except RefusedSettingsError as error:
        told = row.state == "error" and row.reason == "Refused" and row.message == str(error) and not seen
        return None if told else Action("refuse", row.id, row, seen, why=str(error))
    running = next((each for each in seen if each.running), None)
    if running:
        if len(seen) > 1 or row.restarts(running.stamp.restart):
            return Action("replace", row.id, row, seen, spec)
        # What was compared before and found the same is noted on the row: a label cannot be changed.
        noted = row.container_id == running.id and row.generation_seen == row.stamp.generation
        if running.stamp.generation != row.stamp.generation and not noted:
            verb = "compare" if running.stamp.settings == row.stamp.settings else "replace"
            return Action(verb, row.id, row, seen, spec)
        if (row.state, row.container_id) != ("running", running.id):
            return Action("adopt", row.id, row, seen, spec)
        return Action("steady", row.id, row, seen, spec) if row.restart_count and row.age > STABLE else None
    if row.state == "error":
        # Other settings, a restart: at once. Else when its time has come.
        return Action("start", row.id, row, seen, spec) if not row.waits or row.restarts() else None
    if any(each.ended for each in seen) and row.state == "running" and row.container_id == seen[0].id:
        return Action("fail", row.id, row, seen, spec)
    if any(each.ended and each.stamp == row.stamp for each in seen):
        return Action("fail", row.id, row, seen, spec)
    return Action("start", row.id, row, seen, spec)


def backoff(failures: int) -> float:
    """Return how many seconds to wait after that many failures in a row: 5 s, doubled up to 5 min."""
    return min(300.0, 5.0 * 2 ** (max(failures, 1) - 1)) if failures < 8 else 300.0  # noqa: PLR2004 - 5 · 2⁷ > 300


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _text(when: datetime | None) -> str:
    return when.astimezone(UTC).isoformat() if when else ""
