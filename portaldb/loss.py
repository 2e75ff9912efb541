"""What a rollback would take away, read from its SQL and counted in the database, before anybody says yes."""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from portaldb.database import Connection, query
from portaldb.source import Migration, Statement, UnparsableError

_COUNTED = 10_000
"""Rows are counted exactly up to here; beyond, the planner's estimate is said to be one."""

Relation = tuple[str, str]
"""Schema and name."""


@dataclass(frozen=True)
class Loss:
    """One migration to be undone, and what goes with it, in words."""

    id: str
    what: list[str]


def of(connection: Connection, chosen: list[Migration]) -> list[Loss]:
    """Return the losses of each chosen migration, in the open transaction; the owner's sees every row."""
    connection.execute(query("loss", "wait_briefly"))
    return [Loss(migration.id, _lost(connection, migration)) for migration in chosen]


def _lost(connection: Connection, migration: Migration) -> list[str]:
    script = migration.rollback()
    told = [script.directives["loses"]] if "loses" in script.directives else []
    try:
        statements = script.statements
    except UnparsableError:
        return [*told, "unknown: our parser cannot read its rollback"]
    for statement in statements:
        told += [wording.format(_counted(connection, name)) for wording, name in taken(statement)]
        if statement.kind == "DoStmt" and "loses" not in script.directives:
            told.append("what its DO block takes away (read the file)")
    return told


def taken(statement: Statement) -> list[tuple[str, Relation]]:
    """Return what a statement takes away: a wording with {} for the table and its rows, and the table."""
    body = statement.tree[statement.kind]
    if statement.kind == "DropStmt" and body.get("removeType") in ("OBJECT_TABLE", "OBJECT_FOREIGN_TABLE"):
        return [("{}", _named(each["List"]["items"])) for each in body["objects"]]
    if statement.kind == "TruncateStmt":
        return [("every row of {}", _relation(each["RangeVar"])) for each in body["relations"]]
    if statement.kind == "DeleteStmt":
        some = "some rows" if "whereClause" in body else "every row"
        return [(f"{some} of {{}}", _relation(body["relation"]))]
    if statement.kind == "UpdateStmt":
        return [("values that it overwrites in {}", _relation(body["relation"]))]
    if statement.kind == "AlterTableStmt":
        commands = [each["AlterTableCmd"] for each in body["cmds"]]
        dropped = [each["name"] for each in commands if each["subtype"] == "AT_DropColumn"]
        return [(f"column {_braced(name)} of {{}}", _relation(body["relation"])) for name in dropped]
    return []


def _named(items: list[dict[str, Any]]) -> Relation:
    schema, name = ["public", *(part["String"]["sval"] for part in items)][-2:]
    return schema, name


def _relation(node: dict[str, Any]) -> Relation:
    return node.get("schemaname", "public"), node["relname"]


def _braced(name: str) -> str:
    return name.replace("{", "{{").replace("}", "}}")


def _counted(connection: Connection, name: Relation) -> str:
    relation = sql.Identifier(*name)
    dotted = ".".join(name)
    try:
        with connection.transaction():
            there = connection.execute(query("loss", "there"), {"name": relation.as_string(None)}).fetchone()
            if not there or not there["there"]:
                return f"table {dotted}, which is not there"
            row = connection.execute(sql.SQL(query("loss", "rows")).format(relation=relation)).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return f"table {dotted} (this login may not count its rows)"
    except psycopg.errors.LockNotAvailable:
        return f"table {dotted} (locked just now, so its rows were not counted)"
    rows = int(row["rows"]) if row else 0
    if rows > _COUNTED:
        return f"table {dotted} with over {_COUNTED:,} rows (about {max(int(there['about']), rows):,})"
    return f"table {dotted} with {rows:,} row{'' if rows == 1 else 's'}"
