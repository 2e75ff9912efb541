"""One look at the database as a screen: for a person, once or again and again."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from portaldb import report
from portaldb.monitor import Look


def show(found: Look) -> None:
    """Print it once."""
    report.console().print(screen(found))


def live(look: Callable[[], Look], every: float) -> None:
    """Show it again and again until Ctrl-C, which is how one leaves."""
    try:
        with Live(screen(look()), console=report.console(), screen=True, auto_refresh=False) as shown:
            while True:
                time.sleep(every)
                shown.update(screen(look()), refresh=True)
    except KeyboardInterrupt:
        return


def screen(found: Look) -> RenderableType:
    """Lay out one look."""
    given = found.sections
    parts: list[RenderableType] = [_head(given)]
    parts += [Text(f"! {each.what}  →  {each.do}", style="red") for each in found.alarms]
    if not found.alarms:
        parts.append(Text("Nothing to worry about.", style="green"))
    for title, section, columns in _TABLES:
        rows = given.get(section)
        if not rows:
            continue
        numbers = frozenset(heading for heading, _, kind in columns if kind in (int, float, bytes))
        cells = [[_cell(row[key], kind) for _, key, kind in columns] for row in rows[:12]]
        parts += [Text(), Text(title, style="bold"), report.table([each[0] for each in columns], cells, right=numbers)]
    missing = [name for name, value in given.items() if value is None]
    if missing:
        parts += [Text(), Text(f"Not to be had here: {', '.join(missing)}.", style="dim")]
    return Group(*parts)


def _head(given: dict[str, Any]) -> Text:
    server, connections, sessions, runway = (given[name] for name in ("server", "connections", "sessions", "runway"))
    words = [f"{server['database']}, PostgreSQL {server['version'].split()[0]}, {report.pretty_bytes(server['bytes'])}"]
    if server["standby"]:
        lag = server["replayed_seconds_ago"]
        words.append("a standby" + (f", last replayed {lag:,.0f} s ago" if lag is not None else ""))
    if connections:
        words.append(f"connections {connections['connections']} of {connections['connection_limit'] or '∞'}")
        longest = connections["longest_transaction_seconds"]
        words.append(
            f"longest transaction {longest:,.0f} s" if longest is not None else "longest transaction not shown"
        )
        words.append(f"{connections['waiting_for_locks']} wait for locks")
    if sessions:
        words.append(f"{sessions['sessions']:,} sessions of {sessions['users']:,} users")
    if runway:
        words.append(f"partitions for {runway['days_left']} days")
    return Text("; ".join(words) + ".")


def _cell(value: Any, kind: type) -> str:  # noqa: ANN401 - a value of the database
    if value is None:
        return ""
    if kind is datetime:
        return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
    if kind is bytes:
        return report.pretty_bytes(value)
    if kind is int:
        return f"{value:,}"
    if kind is float:
        return f"{value:,.1f}"
    return str(value)


_TABLES: tuple[tuple[str, str, tuple[tuple[str, str, type], ...]], ...] = (
    (
        "Jobs",
        "jobs",
        (
            ("name", "name", str),
            ("when (GMT)", "schedule", str),
            ("last run", "last_started_at", datetime),
            ("result", "last_result", str),
            ("seconds", "last_seconds", float),
        ),
    ),
    ("Containers", "containers", (("state", "state", str), ("reason", "reason", str), ("count", "count", int))),
    ("Audited in a day", "audit", (("action", "action", str), ("day", "day", int), ("this hour", "hour", int))),
    ("Encrypted values", "keys", (("kid", "kid", str), ("enc", "enc", str), ("rows", "count", int))),
    (
        "Partitions",
        "partitions",
        (("name", "partition_name", str), ("rows", "estimated_rows", int), ("size", "bytes", bytes)),
    ),
    (
        "Tables",
        "tables",
        (
            ("name", "table_name", str),
            ("rows", "live_rows", int),
            ("dead", "dead_rows", int),
            ("size", "table_bytes", bytes),
            ("indexes", "index_bytes", bytes),
            ("read end to end", "sequential_scans", int),
        ),
    ),
    (
        "Indexes that nothing uses, or that are not finished",
        "indexes",
        (("name", "index_name", str), ("table", "table_name", str), ("size", "bytes", bytes), ("used", "scans", int)),
    ),
    (
        "Where the time goes",
        "statements",
        (("ms in all", "total_ms", float), ("calls", "calls", int), ("ms each", "mean_ms", float),
         ("statement", "statement", str)),
    ),
)  # fmt: skip
