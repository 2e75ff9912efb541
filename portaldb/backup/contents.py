"""What tables hold: a count and a hash of each, that do not depend on the order of rows, and their comparison."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from portaldb.backup.record import Table
from portaldb.database import Connection, query
from portaldb.errors import RefusedError, RightsError

RECORD = ("public._portaldb_migration", "public._yoyo_log", "public._yoyo_migration", "public._yoyo_version")
"""What was applied, and is restored last: what is half restored does not look migrated."""

SEEDED = ("public.jobs", "public.mcp_servers", "public.settings")
"""Migrations put rows there; rows in them do not make a database one in use."""


BACKUP = "portal_backup"


@dataclass(frozen=True)
class Sight:
    """How every row is seen: as which role, None for the login itself, and whether through policies."""

    role: str | None
    through_policies: bool


def become(connection: Connection, role: str | None) -> None:
    """Act as a role, where one is given."""
    if role:
        connection.execute(sql.SQL(query("backup", "become")).format(role=sql.Identifier(role)))


def sight(connection: Connection, who: dict[str, Any]) -> Sight:
    """Find a way to see every row, and act that way from here on; raise where there is none.

    pg_dump fails on a table whose policies hold its role, and with --enable-row-security takes what they let through
    and says nothing. So either nothing holds the role, or what does must be a policy that lets everything through.
    """
    role = BACKUP if who["may_be_backup"] and not who["sees_all"] else None
    become(connection, role)
    rows = connection.execute(query("backup", "tables")).fetchall()
    hidden = [f"{row['schema']}.{row['name']}" for row in rows if row["guarded"] and not row["open"]]
    closed = [f"{row['schema']}.{row['name']}" for row in rows if not row["readable"]]
    acting = role or who["login"]
    if closed:
        raise RightsError(
            f"The login {acting} may not read {_some(closed)}. No backup was made. Back up as a member of {BACKUP} "
            f"(GRANT {BACKUP} TO …), or as a superuser."
        )
    if hidden:
        raise RefusedError(
            f"Row-Level Security hides rows of {_some(hidden)} from {acting}, so a backup would lack them. None was "
            f"made. Back up as a member of {BACKUP}, as a superuser, or where a server allows neither, by policies of "
            "its own for the login: docs/backup.md has them."
        )
    return Sight(role, any(row["guarded"] for row in rows))


def take(connection: Connection, watch: Callable[[int, int], None] | None = None) -> list[Table]:
    """Count and hash every table in the transaction's snapshot; `watch` is told the bytes done, and all."""
    rows = connection.execute(query("backup", "tables")).fetchall()
    total, done, tables = sum(row["bytes"] for row in rows), 0, []
    for row in rows:
        found, by = _hash(connection, row["schema"], row["name"])
        tables.append(
            Table(
                f"{row['schema']}.{row['name']}",
                f"{row['root_schema']}.{row['root_name']}",
                found["rows"],
                found["hash"],
                by,
            )
        )
        done += row["bytes"]
        if watch:
            watch(done, total)
    return tables


def _hash(connection: Connection, schema: str, name: str) -> tuple[dict[str, Any], str]:
    for by in ("record", "text"):
        text = sql.SQL(query("backup", f"rows_by_{by}")).format(table=sql.Identifier(schema, name))
        try:
            with connection.transaction():
                row = connection.execute(text).fetchone()
        except psycopg.errors.UndefinedFunction:
            continue  # a column whose type has no hash, such as json
        if row:
            return row, by
    raise RefusedError(f"The rows of {schema}.{name} cannot be hashed.")


def differences(expected: Iterable[Table], found: Iterable[Table], leave_out: Iterable[str] = ()) -> list[str]:
    """Say of each table where what is there is not what a backup holds. Pure; partitions are taken together."""
    left_out = set(leave_out)
    due, there = _by_root(expected), _by_root(found)
    faults = []
    for name in sorted(due):
        if name in left_out:
            continue
        rows, total = due[name]
        if name not in there:
            if rows:
                faults.append(f"{name} is not there, and {rows:,} rows belong in it")
        elif there[name][0] != rows:
            faults.append(f"{name} has {there[name][0]:,} rows and not {rows:,}")
        elif there[name][1] != total:
            faults.append(f"{name} has {rows:,} rows as it should, but their content differs")
    faults += [f"{name} has {there[name][0]:,} rows and should have none" for name in _extra(due, there) - left_out]
    return faults


def _extra(due: dict[str, tuple[int, int]], there: dict[str, tuple[int, int]]) -> set[str]:
    return {name for name, (rows, _) in there.items() if rows and name not in due}


def _by_root(tables: Iterable[Table]) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for table in tables:
        rows, total = found.get(table.root, (0, 0))
        found[table.root] = (rows + table.rows, total + int(table.hash))
    return found


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} and {len(names) - 3} more tables" if len(names) > 3 else shown  # noqa: PLR2004 - what a sentence holds
