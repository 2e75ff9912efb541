"""What shows that each constraint, NOT NULL and trigger works: rows that must be refused, statements and their values.

They are tried as the owner, whom no policy holds back, on synthetic rows alone. A rule of the catalog that no trial
shows is a failure, as is a trial of a rule that the catalog has not got.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from psycopg import sql

from portaldb.database import Connection, query
from portaldb.verify.access import Access, Relation, Row, Statement
from portaldb.verify.cells import REFUSED, Cell, Trial, into_state
from portaldb.verify.found import Catalog, ForeignKey, Found, Rule
from portaldb.verify.labels import Labels
from portaldb.verify.trial import OURS, Result, attempt

ACCEPTED, DONE = "accepted", "done"
ON_DELETE = "ON DELETE"
"""With what the name of a cell begins that shows what becomes of a row when the one that it refers to goes."""

_OK, _PERMISSION, _NOT_NULL, _UNIQUE, _FOREIGN_KEY = "00000", "42501", "23502", "23505", "23503"
_GONE = "22012"
"""What `still_there` divides by: the row went with another that referred to it, so it cannot show its own rule."""

_LITERAL = re.compile(r"'((?:[^']|'')*)'")


def derive(access: Access, catalog: Catalog, labels: Labels, *, live: bool) -> list[Cell]:
    """Return a cell for each trial; `what` names the rule."""
    maker = _Maker(access, catalog, labels, live)
    tables = [found for found in catalog.relations if _has_rules(found)]
    derived = [
        *(cell for found in tables for cell in maker.table(found, found.entry or Relation(""))),
        *(maker.statement(trial) for trial in access.trials if trial.live or not live),
    ]
    return into_state(access, derived, labels, live=live)


def coverage(catalog: Catalog) -> list[Result]:
    """Return a result for each rule of the catalog, and each that the access file names: is there a trial, a rule."""
    results = []
    for found in catalog.relations:
        if _has_rules(found) and found.entry:
            shown = _shown(found.entry)
            there = {(_group(rule), rule.name) for rule in found.rules}
            there |= {("on delete", key.name) for key in catalog.foreign_keys if key.oid == found.oid}
            for group, name in sorted(there | shown):
                fault = (
                    "the access file has no trial of it, so nothing shows that it works"
                    if (group, name) in there
                    else "the access file has a trial of it, and the catalog has it not"
                )
                good = (group, name) in there & shown
                cell = Cell("everyone", found.full, f"{group} {name}", "as meant", what="catalog")
                results.append(Result(cell, "as meant" if good else "not as meant", "has a trial" if good else fault))
    return results


def run(connection: Connection, cells: list[Cell], setting: str) -> list[Result]:
    """Try them, and return what came of each."""
    answers = attempt(connection, cells, setting)
    shown = {(cell.relation, cell.what) for cell, answer in answers if answer.get("cause") != _GONE}
    chosen: dict[object, Result] = {}
    for cell, answer in answers:
        if cell.command == "delete" and answer.get("cause") == _GONE and (cell.relation, cell.what) in shown:
            continue
        key = (cell.relation, cell.what) if cell.what.startswith(ON_DELETE) else cell
        chosen.setdefault(key, Result(cell, *_observed(cell, answer)))
    return list(chosen.values())


def _has_rules(found: Found) -> bool:
    return bool(found.is_table and found.entry and found.entry.ours and not found.partition_of)


def _group(rule: Rule) -> str:
    return {"not null": "not null", "trigger": "trigger"}.get(rule.kind, "constraint")


def _shown(entry: Relation) -> set[tuple[str, str]]:
    """Return the rules that an entry has a trial of."""
    return {
        *(("constraint", name) for name in [*entry.refuses, *entry.constraints]),
        *(("not null", name) for name in entry.required),
        *(("on delete", name) for name in entry.on_delete),
        *(("trigger", name) for name in entry.triggers),
    }


def _observed(cell: Cell, answer: dict[str, Any]) -> tuple[str, str]:
    state = answer["state"]
    said = f"{answer.get('said') or answer.get('found') or DONE} ({state})" if state != _OK else str(answer["found"])
    if state == _OK:
        given = answer["found"] if answer["found"] is not None else "no row" if _fetches(cell) else DONE
        return (ACCEPTED if cell.expected == ACCEPTED or cell.command == "insert" else str(given)), said
    if state == _PERMISSION:
        return REFUSED, said
    if state.startswith(OURS):
        return f"{REFUSED} with {state}", said
    if state == _NOT_NULL:
        return f"refused by NOT NULL of {answer['column']}", said
    if state == _UNIQUE and cell.tolerant:
        # A value is looked at before the row is compared with others: the row is that of somebody else, its value good.
        return ACCEPTED, said
    if state.startswith("23"):
        return f"refused by {answer['constraint']}", said
    return "unknown", said


def _fetches(cell: Cell) -> bool:
    return bool(cell.trial and (cell.trial.fetch or cell.trial.look))


@dataclass(frozen=True)
class _Maker:
    access: Access
    catalog: Catalog
    labels: Labels
    live: bool

    def table(self, found: Found, entry: Relation) -> Iterator[Cell]:
        rules = {rule.name: rule for rule in found.rules}
        for name, rows in entry.refuses.items():
            yield self._insert(found, entry, name, rows, f"refused by {name}")
        for name, columns in entry.accepts.items():
            for column, values in columns.items():
                listed = _LITERAL.findall(rules[name].definition) if name in rules else []
                for value in dict.fromkeys([*values, *listed]):
                    expected = ACCEPTED if value in values else f"refused by {name}"
                    yield replace(self._insert(found, entry, name, ({column: value},), expected), tolerant=True)
        for column in entry.required:
            expected = f"refused by NOT NULL of {column}"
            yield self._insert(found, entry, f"NOT NULL of {column}", ({column: None},), expected)
        for name, trigger in entry.triggers.items():
            yield self._cell(found.full, f"trigger {name}", trigger)
        for name, constraint in entry.constraints.items():
            if constraint.live or not self.live:
                yield self._cell(found.full, name, constraint)
        for key in self.catalog.foreign_keys:
            if key.oid == found.oid and key.name in entry.on_delete:
                yield from self._on_delete(found, entry, key, entry.on_delete[key.name])

    def statement(self, trial: Statement) -> Cell:
        return self._cell(trial.of, trial.what, trial)

    def _cell(self, relation: str, what: str, statement: Statement) -> Cell:
        actor = next((actor for actor in self.access.actors if actor.name == statement.actor), None)
        text = self.labels.filled(statement.sql)
        trial = Trial(
            actor.role if actor else self._role, text,
            context=self.labels.text(f"@{actor.tenant}") if actor and actor.tenant else "",
            before=tuple(map(self.labels.filled, statement.before)),
            fetch=not statement.gives.startswith(REFUSED) and statement.gives != DONE,
        )  # fmt: skip
        return Cell(
            actor.name if actor else self._actor, relation, text.split()[0].lower(), statement.gives,
            what=what, trial=trial,
        )  # fmt: skip

    def _insert(self, found: Found, entry: Relation, rule: str, rows: tuple[Row, ...], expected: str) -> Cell:
        *before, last = ({**entry.example, **row} for row in rows)
        words = ", ".join(f"{column} = {'NULL' if value is None else value}" for column, value in rows[-1].items())
        trial = Trial(
            self._role, self._insertion(found, last), before=tuple(self._insertion(found, row) for row in before)
        )
        return Cell(self._actor, found.full, "insert", expected, what=rule, only=words, trial=trial)

    def _insertion(self, found: Found, row: Row) -> str:
        return (
            sql.SQL(query("verify", "insert_row"))
            .format(
                relation=found.identifier,
                columns=sql.SQL(", ").join(map(sql.Identifier, row)),
                values=sql.SQL(", ").join(map(self.labels.literal, row.values())),
            )
            .as_string(None)
        )

    def _on_delete(self, found: Found, entry: Relation, key: ForeignKey, expected: str) -> Iterator[Cell]:
        """Delete what a row refers to, once nothing else refers to it; see what becomes of the row."""
        target = next((each for each in self.catalog.relations if each.oid == key.target), None)
        for row in entry.rows:
            value = row.get(key.source_column)
            if value is None or target is None:
                continue
            others = [
                sql.SQL(query("verify", "clear")).format(
                    relation=_identifier(each.source),
                    column=sql.Identifier(each.source_column),
                    keys=self.labels.array([value]),
                )
                for each in self.catalog.foreign_keys
                if each.target == key.target and each.name != key.name and each.on_delete == "refuse"
            ]
            unlocks = (each.unlock for each in self.access.relations.values() if each.unlock)
            parts = {
                "relation": found.identifier,
                "column": sql.Identifier(key.source_column),
                "key": sql.Identifier(entry.keys[0]),
                "value": self.labels.literal(row[entry.keys[0]]),
            }
            still_there = sql.SQL(query("verify", "still_there")).format(**parts)
            delete = sql.SQL(query("verify", "clear")).format(
                relation=target.identifier,
                column=sql.Identifier(key.target_column),
                keys=self.labels.array([value]),
            )
            yield Cell(
                self._actor, found.full, "delete", f"refused by {key.name}" if expected == "refuse" else expected,
                what=f"ON DELETE of {key.name}", only=f"{key.target_column} = {value} in {target.full}",
                trial=Trial(
                    "none", delete.as_string(None),
                    before=(*unlocks, *(each.as_string(None) for each in [*others, still_there])),
                    look=sql.SQL(query("verify", "became")).format(**parts).as_string(None),
                ),
            )  # fmt: skip

    @property
    def _actor(self) -> str:
        return "owner" if self.access.owner else "everyone"

    @property
    def _role(self) -> str:
        return self.access.owner or "none"


def _identifier(name: str) -> sql.Identifier:
    schema, _, relation = name.replace('"', "").partition(".")
    return sql.Identifier(schema, relation)
