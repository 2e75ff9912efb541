"""What a rollback would take away, read from its SQL and counted in the database, before anybody says yes."""

from dataclasses import dataclass

import psycopg
from psycopg import sql

from portaldb.database import Connection, query
from portaldb.source import Migration, Statement, UnparsableError

_COUNTED = 10_000
"""Rows are counted exactly up to here; beyond, the planner's estimate is said to be one."""


@dataclass(frozen=True)
class Loss:
    """One migration to be undone, and what goes with it, in words."""

    id: str
    what: list[str]


def of(connection: Connection, chosen: list[Migration]) -> list[Loss]:
    """Return the losses of each chosen migration; reads counts only, and writes nothing."""
    return [Loss(migration.id, _lost(connection, migration)) for migration in chosen]


def _lost(connection: Connection, migration: Migration) -> list[str]:
    script = migration.rollback()
    told = [script.directives["loses"]] if "loses" in script.directives else []
    try:
        statements = script.statements
    except UnparsableError:
        return [*told, "unknown: our parser cannot read its rollback"]
    for statement in statements:
        told += [_counted(connection, name) for name in dropped_tables(statement)]
    return told


def dropped_tables(statement: Statement) -> list[tuple[str, str]]:
    """Return the tables that a statement drops, as (schema, name)."""
    body = statement.tree[statement.kind]
    if statement.kind != "DropStmt" or body.get("removeType") not in ("OBJECT_TABLE", "OBJECT_MATVIEW"):
        return []
    names = [[part["String"]["sval"] for part in each["List"]["items"]] for each in body["objects"]]
    return [(parts[-2] if len(parts) > 1 else "public", parts[-1]) for parts in names]


def _counted(connection: Connection, name: tuple[str, str]) -> str:
    relation = sql.Identifier(*name)
    dotted = ".".join(name)
    try:
        there = connection.execute(query("loss", "there"), {"name": relation.as_string(None)}).fetchone()
        if not there or not there["there"]:
            return f"table {dotted}, which is not there"
        row = connection.execute(sql.SQL(query("loss", "rows")).format(relation=relation)).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return f"table {dotted} (this login may not count its rows)"
    rows = int(row["rows"]) if row else 0
    if rows > _COUNTED:
        return f"table {dotted} with over {_COUNTED:,} rows (about {max(int(there['about']), rows):,})"
    return f"table {dotted} with {rows:,} row{'' if rows == 1 else 's'}"
