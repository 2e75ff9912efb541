"""Partitions that a job makes: no list can name them, so each is held against a rule.

A dated partition is named after its parent and the month, or the day, that it holds in UTC. It is like its parent
in columns, constraints, indexes and triggers, has Row-Level Security on and no policy, and nobody is granted
anything on it. One that retention has dropped is no loss.
"""

import re
from datetime import date, timedelta

from portaldb.catalog import Thing

_DATED = re.compile(r"_(\d{4})_(\d{2})(?:_(\d{2}))?$")


def is_dated(thing: Thing, things: dict[str, Thing]) -> bool:
    """Say whether a thing is a dated partition, or hangs on one."""
    if thing.kind == "partition":
        return _bounds(thing) is not None
    above = things.get(thing.on)
    return above is not None and is_dated(above, things)


def is_comment(thing: Thing, things: dict[str, Thing]) -> bool:
    """Say whether a thing is what the job says of a partition that it made."""
    return thing.kind == "comment" and is_dated(thing, things)


def expected(found: dict[str, Thing], wanted: dict[str, Thing]) -> dict[str, Thing]:
    """Return what the dated partitions that are there should be, by key, for the tables that are `wanted`."""
    due: dict[str, Thing] = {}
    for thing in found.values():
        bounds = _bounds(thing) if thing.kind == "partition" else None
        if not bounds or thing.on not in wanted:
            continue
        parent = thing.on.removeprefix("table ")
        first, last = bounds
        for each in (
            Thing(
                "partition",
                thing.name,
                f"OF {parent} FOR VALUES FROM ('{first} 00:00:00+00') TO ('{last} 00:00:00+00')",
                thing.on,
            ),
            Thing("owner", f"of {thing.key}", wanted[f"owner of {thing.on}"].definition, thing.key),
            Thing("row security", f"of {thing.name}", "enabled", thing.key),
        ):
            due[each.key] = each
    return due


def _bounds(thing: Thing) -> tuple[date, date] | None:
    """Return the first day of a dated partition and the day after its last, as its name says."""
    parent = thing.on.removeprefix("table ")
    match = _DATED.search(thing.name)
    if not match or thing.name[: match.start()] != parent:
        return None
    year, month, day = (int(each) if each else 0 for each in match.groups())
    try:
        first = date(year, month, day or 1)
    except ValueError:
        return None
    if day:
        return first, first + timedelta(days=1)
    return first, date(year + month // 12, month % 12 + 1, 1)
