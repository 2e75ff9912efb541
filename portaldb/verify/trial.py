"""Trying cells on a server: the synthetic rows are made, each statement runs as somebody and is undone."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from portaldb.database import Connection, query
from portaldb.verify.access import Access
from portaldb.verify.cells import ALLOWED, REFUSED, Cell, Trial
from portaldb.verify.labels import Labels

BATCH = 400
"""Cells a round trip."""

_DONE = "00000"
_PERMISSION = "42501"
_INTEGRITY = "23"
OURS = "PT"
"""The class of what functions refuse by themselves: PT and the status of HTTP that it stands for."""
_NOT_EMPTY_OF_REFERENCES = "0A000"


@dataclass(frozen=True)
class Result:
    """A cell and what came of it. `observed` is allowed, refused, the keys of rows, or 'unknown'."""

    cell: Cell
    observed: str | frozenset[str]
    answer: str

    @property
    def ok(self) -> bool:
        """Whether it is as expected; 'unknown' never is."""
        if self.cell.at_most and isinstance(self.observed, frozenset) and isinstance(self.cell.expected, frozenset):
            return self.observed <= self.cell.expected
        return self.observed == self.cell.expected


def insert_rows(connection: Connection, access: Access, labels: Labels, *, live: bool) -> None:
    """Make the synthetic rows, in the order of the access file; before, what only a throwaway database can take."""
    if not live:
        for role, statement in access.prepare:
            become = sql.SQL(query("verify", "set_role")).format(role=sql.Literal(role))
            connection.execute(become)
            connection.execute(statement.encode())
            connection.execute(sql.SQL(query("verify", "set_role")).format(role=sql.Literal("none")))
    for relation in access.relations.values():
        for row in relation.rows:
            schema, _, name = relation.name.partition(".")
            connection.execute(
                sql.SQL(query("verify", "insert_row")).format(
                    relation=sql.Identifier(schema, name),
                    columns=sql.SQL(", ").join(map(sql.Identifier, row)),
                    values=sql.SQL(", ").join(map(labels.literal, row.values())),
                )
            )
    for statement in access.after:
        connection.execute(labels.filled(statement).encode())


def make_tools(connection: Connection, access: Access, *, live: bool) -> None:
    """Make what the trials need, in a schema that nobody else sees; on a running database only a temporary function."""
    connection.execute(query("verify", "try").encode())
    if not live:
        roles = sql.SQL(", ").join(map(sql.Identifier, access.roles))
        connection.execute(sql.SQL(query("verify", "scratch")).format(roles=roles))


def run(connection: Connection, cells: Iterable[Cell], setting: str) -> list[Result]:
    """Try cells and return what came of each, in their order."""
    cells = list(cells)
    answers = [
        *attempt(connection, [cell for cell in cells if cell.trial and not cell.trial.copy], setting),
        *_copy(connection, [cell for cell in cells if cell.trial and cell.trial.copy], setting),
    ]
    observed = {id(cell): _judge(cell, answer) for cell, answer in answers}
    unanswered = [cell for cell in cells if cell.question and observed.get(id(cell), ("unknown", ""))[0] == "unknown"]
    for cell, answer in _ask(connection, unanswered):
        tried = f"; tried: {observed[id(cell)][1]}" if id(cell) in observed else ""
        observed[id(cell)] = (answer, f"the catalog says {answer}{tried}")
    untried = ("unknown", "the access file has no row to try it with")
    return [Result(cell, *observed.get(id(cell), untried)) for cell in cells]


def attempt(connection: Connection, cells: list[Cell], setting: str) -> list[tuple[Cell, dict[str, Any]]]:
    """Run the trials of cells, and return each cell with the server's answer."""
    # The same statement by the same role in the same context has one answer.
    unique: dict[str, list[Cell]] = {}
    for cell in cells:
        assert cell.trial is not None  # noqa: S101 - the caller chose those
        unique.setdefault(json.dumps(cell.trial.as_dict()), []).append(cell)
    waiting = list(unique)
    found: list[tuple[Cell, dict[str, Any]]] = []
    for start in range(0, len(waiting), BATCH):
        batch = waiting[start : start + BATCH]
        row = connection.execute(
            query("verify", "run"), {"trials": f"[{','.join(batch)}]", "setting": setting}
        ).fetchone()
        assert row is not None  # noqa: S101 - a SELECT without FROM has one row
        for trial, answer in zip(batch, row["answers"], strict=True):
            found += [(cell, answer) for cell in unique[trial]]
    return found


def _copy(connection: Connection, cells: list[Cell], setting: str) -> list[tuple[Cell, dict[str, Any]]]:
    """Try COPY as somebody; it speaks with the client, so each is a round trip of its own, in a savepoint."""
    found: list[tuple[Cell, dict[str, Any]]] = []
    for cell in cells:
        assert cell.trial is not None  # noqa: S101 - the caller chose those
        become = sql.SQL(query("verify", "become")).format(
            setting=sql.Literal(setting), context=sql.Literal(cell.trial.context), role=sql.Literal(cell.trial.role)
        )
        connection.execute(query("verify", "savepoint").encode())
        for statement in cell.trial.before:
            connection.execute(statement.encode())
        connection.execute(become)
        try:
            with connection.cursor().copy(cell.trial.statement.encode()) as copy:
                rows = [row[0] for row in copy.rows()] if cell.trial.fetch else []
            answer = {"state": _DONE, "found": json.dumps(rows)}
        except psycopg.Error as error:
            answer = {"state": error.sqlstate or "", "said": error.diag.message_primary or str(error)}
        connection.execute(query("verify", "become_oneself").encode())
        found.append((cell, answer))
    return found


def _judge(cell: Cell, answer: dict[str, Any]) -> tuple[str | frozenset[str], str]:
    """Turn the server's answer into what was observed, and the answer in words."""
    state = answer["state"]
    told = answer.get("said") or _rows_told(cell, answer)
    said = f"{told} ({state})" if state != _DONE else told
    for known, meaning in cell.means.items():
        if state.startswith(known):
            return meaning, said
    if state == _PERMISSION:
        return REFUSED, said
    if state.startswith(OURS):
        return f"{REFUSED} with {state}", said
    if cell.command == "truncate" and state == _NOT_EMPTY_OF_REFERENCES:
        return ALLOWED, said
    if state.startswith(_INTEGRITY) and cell.tolerant:
        return cell.expected, said
    if state != _DONE:
        return "unknown", said
    if isinstance(cell.expected, str) and cell.what != "row_security off":
        return ALLOWED, said
    return _reached(cell, answer), said


def _reached(cell: Cell, answer: dict[str, Any]) -> frozenset[str]:
    found = json.loads(answer["found"]) if answer["found"] else ([] if cell.trial and cell.trial.fetch else {})
    if isinstance(found, list):
        return frozenset(key for key in found if not cell.before or key in cell.before)
    return frozenset(key for key, place in cell.before.items() if found.get(key) != place)


def _rows_told(cell: Cell, answer: dict[str, Any]) -> str:
    if cell.trial and (cell.trial.fetch or cell.trial.look):
        return f"{len(_reached(cell, answer))} {'found' if cell.what == 'attack' else 'of the synthetic rows'}"
    return "done"


def question(cell: Cell, before: tuple[str, ...]) -> Trial:
    """Write a cell's question to the catalog as a statement, to be asked after others; it gives allowed or refused."""
    assert cell.question is not None  # noqa: S101 - asked of cells that have one
    asked = cell.question
    privilege = sql.Literal(asked.privilege)
    if asked.kind == "f":
        call = "has_function_privilege({role}, {oid}, {privilege})"
    elif asked.kind == "S":
        call = "has_sequence_privilege({role}, {oid}, {privilege})"
    elif asked.column is not None:
        call = "has_column_privilege({role}, {oid}, {column}, {privilege})"
    elif asked.privilege == "REFERENCES":
        call = "has_any_column_privilege({role}, {oid}, {privilege})"
    else:
        call = "has_table_privilege({role}, {oid}, {privilege})"
    statement = sql.SQL(query("verify", "asked")).format(
        has=sql.SQL(call).format(
            role=sql.Literal(asked.role), oid=sql.SQL(f"{asked.oid}::oid"), column=sql.Literal(asked.column),
            privilege=privilege,
        )
    )  # fmt: skip
    return Trial("none", statement.as_string(None), before=before, fetch=True)


def _ask(connection: Connection, cells: list[Cell]) -> list[tuple[Cell, str]]:
    """Look privileges up in the catalog."""
    answers = []
    for name, kind in (("privileges", ""), ("function_privileges", "f"), ("sequence_privileges", "S")):
        chosen = [cell for cell in cells if cell.question and cell.question.kind == kind]
        wanted = [
            {
                "n": n,
                "role": cell.question.role,
                "oid": cell.question.oid,
                "col": cell.question.column,
                "privilege": cell.question.privilege,
            }
            for n, cell in enumerate(chosen)
            if cell.question
        ]
        for row in connection.execute(query("verify", name), {"wanted": json.dumps(wanted)}):
            answers.append((chosen[row["n"]], ALLOWED if row["has"] else REFUSED))
    return answers
