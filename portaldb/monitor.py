"""`portaldb monitor`: what an on-call person asks of the running database, and what of it is an alarm.

It reads the monitoring views and the server's statistics, as any login in portal_monitor may, and no tenant's row.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg

from portaldb import jobs
from portaldb.database import Connection, query

LISTS = ("jobs", "containers", "audit", "partitions", "keys", "tables", "indexes", "statements")
"""Sections of many rows; the others are one."""

SECTIONS = ("server", "connections", "sessions", "runway", *LISTS)

_BUSY = 0.8
_DAYS_LEFT = 14
_LONG_TRANSACTION = 3600.0
_LONG_IDLE = 300.0
_DEAD_BYTES = 100 * 2**20


@dataclass(frozen=True)
class Alarm:
    """What somebody should look at, and what to type."""

    what: str
    do: str

    def as_dict(self) -> dict[str, str]:
        """Return it for a JSON report."""
        return {"what": self.what, "do": self.do}


@dataclass(frozen=True)
class Look:
    """What one look found; a section that this login or this database cannot give is None."""

    sections: dict[str, Any]

    @property
    def alarms(self) -> list[Alarm]:
        """What of it is an alarm."""
        return alarms(self.sections)

    def as_dict(self) -> dict[str, Any]:
        """Return it for a JSON report."""
        return self.sections | {"alarms": [each.as_dict() for each in self.alarms]}


def look(connection: Connection) -> Look:
    """Ask everything once, in the transaction that is open."""
    found: dict[str, Any] = {}
    for name in SECTIONS:
        try:
            with connection.transaction():
                rows = connection.execute(query("monitor", name)).fetchall()
        except (
            psycopg.errors.UndefinedTable,  # an extension that is not there, or a database of an earlier level
            psycopg.errors.InsufficientPrivilege,
            psycopg.errors.ObjectNotInPrerequisiteState,  # pg_stat_statements that is not loaded
        ):
            found[name] = None
            continue
        found[name] = rows if name in LISTS else rows[0]
    return Look(found)


def alarms(found: dict[str, Any]) -> list[Alarm]:
    """Judge what was found. Pure."""
    told: list[Alarm] = []
    for section, judge in _JUDGES:
        if found.get(section) is not None:
            told += judge(found[section])
    return told


def _runway(row: dict[str, Any]) -> list[Alarm]:
    told = []
    if row["days_left"] is None or row["days_left"] < _DAYS_LEFT:
        told.append(Alarm(f"The audit trail's partitions last {row['days_left'] or 0} days.", _MAKE_PARTITIONS))
    if row["rows_in_default"]:
        told.append(
            Alarm(f"{row['rows_in_default']:,} audit entries found no partition of their month.", _MAKE_PARTITIONS)
        )
    return told


_MAKE_PARTITIONS = "SELECT ensure_audit_partitions(); as portal_maintenance, and see why the job did not"


def _jobs(rows: list[dict[str, Any]]) -> list[Alarm]:
    told = []
    for row in rows:
        if row["last_result"] in ("failed", "lost"):
            said = "failed" if row["last_result"] == "failed" else "was cut short"
            told.append(Alarm(f"The job {row['name']} {said} when it last ran.", "portaldb jobs list"))
        elif row["is_active"] and (due := jobs.missed(row["schedule"], row["well_until"], row["now"])):
            told.append(
                Alarm(
                    f"The job {row['name']} was due at {due:%Y-%m-%d %H:%M} GMT and once more since, without success.",
                    "portaldb jobs list; portaldb jobs sync where pg_cron runs them, else portaldb jobs run --daemon",
                )
            )
    return told


def _connections(row: dict[str, Any]) -> list[Alarm]:
    told = []
    for count, limit, what in (
        (row["connections"], row["connection_limit"], "database's"),
        (row["server_connections"], row["server_limit"], "server's"),
    ):
        if limit and count >= limit * _BUSY:
            told.append(
                Alarm(
                    f"{count} of the {what} {limit} connections are taken.", "Put PgBouncer in between (docs/scale.md)"
                )
            )
    if (row["longest_transaction_seconds"] or 0) > _LONG_TRANSACTION:
        told.append(
            Alarm(
                f"A transaction has been open for {row['longest_transaction_seconds'] / 60:.0f} minutes; VACUUM waits.",
                "SELECT pid, usename, state FROM pg_stat_activity ORDER BY xact_start LIMIT 5; as a superuser",
            )
        )
    if (row["longest_idle_in_transaction_seconds"] or 0) > _LONG_IDLE:
        told.append(
            Alarm(
                f"A transaction has done nothing for {row['longest_idle_in_transaction_seconds'] / 60:.0f} minutes.",
                "ALTER ROLE … SET idle_in_transaction_session_timeout = '1min'; for the service's login",
            )
        )
    return told


def _containers(rows: list[dict[str, Any]]) -> list[Alarm]:
    failed = sum(row["count"] for row in rows if row["state"] == "error")
    return [Alarm(f"{failed:,} containers are in error.", "portaldb runner status")] if failed else []


def _tables(rows: list[dict[str, Any]]) -> list[Alarm]:
    return [
        Alarm(
            f"About {row['dead_bytes'] / 2**20:,.0f} MB of {row['table_name']} are dead rows.",
            f"VACUUM public.{row['table_name']}; and see what holds autovacuum up",
        )
        for row in rows
        if (row["dead_bytes"] or 0) > max(_DEAD_BYTES, row["table_bytes"] / 2)
    ]


def _indexes(rows: list[dict[str, Any]]) -> list[Alarm]:
    return [
        Alarm(f"The index {row['index_name']} was not finished.", "portaldb status, then portaldb migrate")
        for row in rows
        if not row["is_valid"]
    ]


_JUDGES: tuple[tuple[str, Callable[[Any], list[Alarm]]], ...] = (
    ("runway", _runway),
    ("jobs", _jobs),
    ("connections", _connections),
    ("containers", _containers),
    ("tables", _tables),
    ("indexes", _indexes),
)
