"""What a statement does to one relation, as a value: the lock, whom it blocks, the work on the rows."""

from collections.abc import Iterable
from dataclasses import dataclass

UNKNOWN = "unknown"
"""The lock of a statement whose doings cannot be read from it."""

NO_LOCK = ""
"""The lock of a statement that touches the catalogs alone."""

ACCESS_SHARE = "ACCESS SHARE"
ROW_SHARE = "ROW SHARE"
ROW_EXCLUSIVE = "ROW EXCLUSIVE"
SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"
SHARE = "SHARE"
SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
EXCLUSIVE = "EXCLUSIVE"
ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"

BLOCKS = {
    NO_LOCK: "",
    ACCESS_SHARE: "",
    ROW_SHARE: "schema changes only",
    ROW_EXCLUSIVE: "schema changes only",
    SHARE_UPDATE_EXCLUSIVE: "schema changes only",
    SHARE: "writes",
    SHARE_ROW_EXCLUSIVE: "writes",
    EXCLUSIVE: "writes",
    ACCESS_EXCLUSIVE: "reads and writes",
    UNKNOWN: "unknown",
}
"""Whom each lock keeps waiting, in the order of strength."""

_STRENGTH = list(BLOCKS)
LOCK_MODES = _STRENGTH[1:9]
"""The eight locks; LOCK TABLE's mode in a parse tree is an index into them, from 1."""


@dataclass(frozen=True)
class Effect:
    """What one statement does to one relation."""

    relation: str
    """The name as to_regclass() takes it, or '' where the statement names none."""
    lock: str
    """The table-level lock, NO_LOCK, or UNKNOWN."""
    blocks: str
    """Who waits meanwhile: 'reads and writes', 'writes', 'schema changes only', 'unknown', or '' for nobody."""
    why: str
    """In words: what is done, and what the answer depends on."""
    rewrites: bool = False
    """Every row is written again (or every index built again), so the time grows with the table."""
    scans: bool = False
    """Every row is read while the lock is held."""
    certain: bool = True
    """False where `rewrites` or `scans` depends on what the statement does not say: read 'may'."""
    creates: bool = False
    """The relation begins here: nobody else sees it before the commit."""
    rule: str | None = None
    """squawk's rule about it."""


def takes(
    relation: str,
    lock: str,
    why: str,
    *,
    rewrites: bool = False,
    scans: bool = False,
    certain: bool = True,
    creates: bool = False,
    rule: str | None = None,
) -> Effect:
    """Make an effect; whom it blocks follows from the lock."""
    blocks = "" if creates else BLOCKS[lock]
    return Effect(relation, lock, blocks, why, rewrites, scans, certain, creates, rule)


def unknown(why: str) -> Effect:
    """Make the effect of what cannot be read from a statement."""
    return takes("", UNKNOWN, why, certain=False)


def created(relation: str, what: str) -> Effect:
    """Make the effect of a relation that begins here."""
    return takes(relation, ACCESS_EXCLUSIVE, f"{what}, which nobody else sees before the commit", creates=True)


def default_partition(parent: str) -> Effect:
    """Say that a new partition makes the default one be read; whether there is one, the statement does not say."""
    return takes(
        "",
        ACCESS_EXCLUSIVE,
        f"the default partition of {parent}, where it has one, is scanned for rows of the new partition, unless a "
        "CHECK constraint shows that there are none",
        scans=True,
        certain=False,
    )


def merge(found: Iterable[Effect]) -> list[Effect]:
    """Make one effect a named relation: the strongest lock, all that is done."""
    merged: dict[tuple[str, ...], Effect] = {}
    for effect in found:
        # Relations without a name are not known to be the same one.
        key = (effect.relation,) if effect.relation else ("", effect.lock, effect.why)
        before = merged.get(key)
        merged[key] = _joined(before, effect) if before else effect
    return list(merged.values())


def _joined(one: Effect, other: Effect) -> Effect:
    lock = max(one.lock, other.lock, key=_STRENGTH.index)
    creates = one.creates or other.creates
    rewriting = [each for each in (one, other) if each.rewrites]
    working = rewriting or [each for each in (one, other) if each.scans]
    return Effect(
        one.relation,
        lock,
        "" if creates else BLOCKS[lock],
        one.why if other.why in one.why else f"{one.why}; {other.why}",
        one.rewrites or other.rewrites,
        one.scans or other.scans,
        any(each.certain for each in working) if working else True,
        creates,
        one.rule or other.rule,
    )
