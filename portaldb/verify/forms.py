"""The other forms of reading and writing: row locks, COPY, RETURNING, ON CONFLICT, MERGE, cursors, and what keys tell.

They pass through the same rights and policies as the plain statements of `cells`, in other places of the server; what
each is to reach follows from the same access file.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from psycopg import sql

from portaldb.database import Connection, query
from portaldb.verify.access import Access, Actor, Relation, Row
from portaldb.verify.cells import ALLOWED, REFUSED, Cell, Maker, Question, Trial
from portaldb.verify.found import Catalog, Column, Found, identity, look_statement
from portaldb.verify.labels import Labels
from portaldb.verify.trial import Result

KEY = "what a key tells"
"""The name of the cells that show whether a key tells of another's row."""

_NO_ROW: dict[str, str | frozenset[str]] = {"42501": frozenset(), "23": frozenset()}
"""A refused statement, and one that breaks a constraint, reach no row."""

_FOR = ("UPDATE", "SHARE")
_PROBE = "@probe"


@dataclass(frozen=True)
class Key:
    """A unique index: its columns (`plain`: without expression and predicate)."""

    name: str
    plain: bool
    immediate: bool
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Reference:
    """A foreign key: what refers, what is referred to, and their columns, pair by pair."""

    name: str
    source: int
    target: int
    columns: tuple[tuple[str, str], ...]

    def values(self, target: Row) -> Row:
        """Return what a row that refers to this one has in its columns."""
        return {source: target.get(column) for source, column in self.columns}


def derive(
    connection: Connection, access: Access, catalog: Catalog, labels: Labels, *, live: bool, only: str | None = None
) -> list[Cell]:
    """Return the cells of every form, or those of one relation `only`."""
    oids = [found.oid for found in catalog.relations if found.is_table and found.entry and found.entry.ours]
    keys: dict[int, list[Key]] = {}
    for row in connection.execute(query("forms", "unique_keys"), {"oids": oids}):
        keys.setdefault(row.pop("relation"), []).append(Key(**{**row, "columns": tuple(row["columns"])}))
    references = [
        Reference(**{**row, "columns": tuple(map(tuple, row["columns"]))})
        for row in connection.execute(query("forms", "references"), {"oids": oids})
    ]
    maker = _Forms(access, catalog, labels, live, keys, tuple(references))
    return [
        cell
        for found in catalog.relations
        if found.entry and only in (None, found.full)
        for cell in maker.forms(found, found.entry)
    ]


def undeclared(access: Access, catalog: Catalog, results: list[Result], only: str | None = None) -> list[Result]:
    """Hold [oracles] to what was found: a key that is named there and tells nobody anything is stale."""
    telling = {
        (result.cell.relation, result.cell.column)
        for result in results
        if result.cell.what == KEY and result.observed != frozenset()
    }
    there = {found.full for found in catalog.relations}
    stale = []
    for relation, named in access.oracles.items():
        for name in named if only in (None, relation) and relation in there else ():
            cell = Cell("everyone", relation, f"oracle {name}", "as meant", what="catalog")
            good = (relation, name) in telling
            said = "tells, for the reason written down" if good else "is in [oracles], and no key of that name tells"
            stale.append(Result(cell, "as meant" if good else "not as meant", said))
    return stale


@dataclass(frozen=True)
class _Forms(Maker):
    keys: dict[int, list[Key]]
    references: tuple[Reference, ...]

    def forms(self, found: Found, entry: Relation) -> Iterator[Cell]:
        if found.kind == "S":
            yield from self._sequence(found, entry)
            return
        if not found.present:
            yield from self._copy_none(found, entry)
        for actor in self.access.actors if found.present else ():
            yield from self._copy_rows(found, entry, actor)
            if not found.is_table or found.partition_of:
                continue
            yield from self._locks(found, entry, actor)
            yield from self._place(found, entry, actor)
            for command in ("update", "delete"):
                if entry.right(command, actor) != REFUSED:
                    yield from self._writes(found, entry, actor, command)
            if entry.right("insert", actor) != REFUSED:
                yield from self._inserts(found, entry, actor)
            yield from self._given_away(found, entry, actor)
            if actor.tenant:
                yield from self._tells(found, entry, actor)
        if found.is_table:
            yield from self._copy_in(found, entry)

    # Reading -------------------------------------------------------------------------------------------------

    def _copy_rows(self, found: Found, entry: Relation, actor: Actor) -> Iterator[Cell]:
        right = entry.right("select", actor)
        key = self._key(entry, actor) or entry.keys[0]
        rows = self.access.rows(entry)
        keys = self.labels.array(identity(self.access, entry, row, key) for row in rows)
        whole = not self.live and found.kind == "r"
        statement = self._form("copy_out" if whole else "copy_rows_out", found, key=sql.Identifier(key), keys=keys)
        expected = REFUSED if right == REFUSED else self._expected(found, entry, right, actor, key)
        # A COPY that is refused is so for the role, whoever is named.
        if right == REFUSED and actor != next(each for each in self.access.actors if each.role == actor.role):
            return
        yield Cell(
            actor.name, found.full, "copy to", expected, what="rows", right=right,
            trial=Trial(actor.role, statement, self._context(actor), fetch=True, copy=True),
            # Of a whole table, what is not synthetic (a seed) is left out.
            before={self.labels.text(identity(self.access, entry, row, key)): "" for row in rows},
        )  # fmt: skip

    def _copy_none(self, found: Found, entry: Relation) -> Iterator[Cell]:
        for actor in self._one_a_role():
            held = entry.right("select", actor) != REFUSED
            column = next(
                (each.name for each in found.columns if entry.allows_column("select", actor.role, each.name)), ""
            )
            if column:
                statement = self._form("copy_none_out", found, key=sql.Identifier(column))
                yield Cell(
                    actor.role, found.full, "copy to", ALLOWED if held else REFUSED,
                    trial=Trial(actor.role, statement, fetch=True, copy=True),
                )  # fmt: skip

    def _copy_in(self, found: Found, entry: Relation) -> Iterator[Cell]:
        """COPY FROM passes no policy, so that it is refused where there are any; it is tried with no row."""
        for actor in self._one_a_role():
            held = entry.right("insert", actor) != REFUSED and not entry.forced
            columns = [each.name for each in found.columns if entry.allows_column("insert", actor.role, each.name)]
            statement = self._form("copy_in", found, columns=self._names(columns[:1] or [found.columns[0].name]))
            yield Cell(
                actor.role, found.full, "copy from", ALLOWED if held else REFUSED,
                trial=Trial(actor.role, statement, copy=True), means={"0A000": REFUSED},
            )  # fmt: skip

    def _locks(self, found: Found, entry: Relation, actor: Actor) -> Iterator[Cell]:
        """A row lock needs the right to see a row and the right to change it."""
        rights = [entry.right(command, actor) for command in ("select", "update")]
        key = self._key(entry, actor) or entry.keys[0]
        keys = self.labels.array(identity(self.access, entry, row, key) for row in self.access.rows(entry))
        both = self._both(found, entry, actor, "update", key)
        for strength in _FOR:
            statement = self._form(
                "lock_rows", found, key=sql.Identifier(key), keys=keys, strength=sql.SQL(strength)
            )  # fmt: skip
            yield Cell(
                actor.name, found.full, f"select for {strength.lower()}", both,
                what="rows", right=" and ".join(dict.fromkeys(rights)),
                trial=Trial(actor.role, statement, self._context(actor), fetch=True),
            )  # fmt: skip

    def _place(self, found: Found, entry: Relation, actor: Actor) -> Iterator[Cell]:
        """Rows by their place in the file (ctid), which is a system column: a role of some columns has none of it."""
        key = self._key(entry, actor)
        if key is None or "select" in entry.columns.get(actor.role, {}) or entry.right("select", actor) == REFUSED:
            return
        places = ",".join(f'"({place.partition("(")[2]}"' for place in found.present.values())
        statement = self._form(
            "rows_by_place", found, key=sql.Identifier(key), places=sql.Literal("{" + places + "}"),
            keys=self.labels.array(identity(self.access, entry, row, key) for row in self.access.rows(entry)),
        )  # fmt: skip
        right = entry.right("select", actor)
        yield Cell(
            actor.name, found.full, "select by ctid", self._expected(found, entry, right, actor, key),
            what="rows", right=right, trial=Trial(actor.role, statement, self._context(actor), fetch=True),
        )  # fmt: skip

    # Writing -------------------------------------------------------------------------------------------------

    def _writes(self, found: Found, entry: Relation, actor: Actor, command: str) -> Iterator[Cell]:
        """UPDATE and DELETE in their other forms, in MERGE, and with row_security off."""
        column = self._column(found, entry, actor) if command == "update" else None
        if command == "update" and column is None:
            return
        parts: dict[str, sql.Composable] = {}
        if column:
            parts = {"column": sql.Identifier(column.name), "value": self._value(column, self.access.rows(entry))}
        before = tuple(self._clear(found, entry)) if command == "delete" else ()
        right, title = entry.right(command, actor), actor.name
        tolerant = right == "all"

        if entry.forced and not self.access.roles[actor.role].bypassrls:
            yield Cell(
                title, found.full, command, REFUSED, what="row_security off", right="refused",
                means={"00000": ALLOWED},
                trial=Trial(
                    actor.role, self._write(found, entry, command, column), self._context(actor), before=before,
                    row_security="off",
                ),
            )  # fmt: skip
        key = self._key(entry, actor)
        if key is None or entry.right("select", actor) == REFUSED:
            return
        both = self._both(found, entry, actor, command, key)
        assert isinstance(both, frozenset)  # noqa: S101 - neither of the two rights is refused
        rows = self.access.rows(entry)
        every = self.labels.array(identity(self.access, entry, row, key) for row in rows)
        parts["key"] = sql.Identifier(key)
        returning = self._form(f"{command}_returning", found, keys=every, **parts)
        yield Cell(
            title, found.full, f"{command} returning", both, what="rows", right=right, tolerant=tolerant,
            trial=Trial(actor.role, returning, self._context(actor), before=before, fetch=True),
        )  # fmt: skip
        if key != entry.keys[0]:
            return
        look = look_statement(self.access, self.labels, found)

        def changed(what: str, statement: str, expected: frozenset[str], *, at_most: bool = False) -> Cell:
            return Cell(
                title, found.full, what, expected, what="rows", right=right, before=found.present, tolerant=tolerant,
                trial=Trial(actor.role, statement, self._context(actor), before=before, look=look),
                means={} if tolerant else _NO_ROW, at_most=at_most,
            )  # fmt: skip

        if command == "update":
            yield changed("update where current of", self._form("update_current", found, keys=every, **parts), both)
        # A MERGE that matches a row which its policy holds back is refused as a whole: each of the others' by itself.
        theirs = [row for row in rows if self.labels.text(identity(self.access, entry, row)) in both]
        others = [row for row in rows if row not in theirs]
        # Of no row it would prove nothing, and the planner may take a partial index for it, and read that to its end.
        if theirs:
            keys = self.labels.array(identity(self.access, entry, row) for row in theirs)
            yield changed(f"merge {command}", self._form(f"merge_{command}", found, keys=keys, **parts), both)
        if others:
            one_by_one = self._one_by_one(
                self._form(
                    f"merge_{command}", found, keys=self.labels.array([identity(self.access, entry, row)]), **parts
                )
                for row in others
            )
            yield changed(f"merge {command}", one_by_one, frozenset())
        if not self.live:
            yield changed(
                f"merge {command} on true", self._form(f"merge_{command}_all", found, **parts),
                self._expected(found, entry, right, actor), at_most=True,
            )  # fmt: skip

    def _inserts(self, found: Found, entry: Relation, actor: Actor) -> Iterator[Cell]:
        """INSERT with RETURNING, in MERGE, with row_security off, and against a row that has the key already."""
        key = self._key(entry, actor)
        readable = key is not None and entry.right("select", actor) != REFUSED
        for candidate in entry.candidates:
            for row in self.access.each(candidate):
                allowed = self.access.reaches(entry, entry.right("insert", actor), actor, row)
                seen = self.access.reaches(entry, entry.right("select", actor), actor, row)
                if key and readable:
                    yield self._insert_form(found, entry, actor, row, "returning", allowed and seen, key)
                yield self._insert_form(found, entry, actor, row, "merge", allowed, "")
        if (own := self._candidate(entry, actor)) is not None:
            if readable:
                yield from self._on_conflict(found, entry, actor, own)
            if entry.forced and not self.access.roles[actor.role].bypassrls:
                yield self._insert_form(found, entry, actor, own, "row_security off", False, "")

    def _insert_form(
        self, found: Found, entry: Relation, actor: Actor, row: Row, form: str, allowed: bool, key: str
    ) -> Cell:
        names = {"returning": "insert_returning", "merge": "merge_insert"}
        query_name = names.get(form)
        parts: dict[str, sql.Composable] = {"key": sql.Identifier(key)} if key else {}
        parts |= {"columns": self._names(row), "values": self._values(row)}
        statement = self._form(query_name, found, **parts) if query_name else self._sql("insert_row", found, **parts)
        plain = Maker._insert(self, found, entry, actor, row)
        return Cell(
            actor.name, found.full, {"returning": "insert returning", "merge": "merge insert"}.get(form, "insert"),
            ALLOWED if allowed else REFUSED, what="rows" if query_name else form, right=plain.right,
            tolerant=plain.tolerant, only=plain.only, means={} if query_name else {"00000": ALLOWED},
            trial=Trial(
                actor.role, statement, self._context(actor), row_security="" if query_name else "off"
            ),
        )  # fmt: skip

    def _on_conflict(self, found: Found, entry: Relation, actor: Actor, row: Row) -> Iterator[Cell]:
        """A row of one's own that meets a row with the same key: that one is changed where one may change it."""
        column = self._column(found, entry, actor) if entry.right("update", actor) != REFUSED else None
        # A trigger may keep even those who reach every row from changing it.
        tolerant = bool(entry.unlock) and entry.right("update", actor) == "all"
        for key in self.keys.get(found.oid, ()) if column else ():
            if not (key.plain and key.immediate and self._writable(key.columns, entry, actor, "insert")):
                continue
            for other in self.access.rows(entry):
                if not column or not all(other.get(name) is not None for name in key.columns):
                    continue
                made = row | {name: other[name] for name in key.columns}
                reached = all(
                    self.access.reaches(entry, entry.right(command, actor), actor, each)
                    for command, each in (("insert", made), ("update", other), ("select", other))
                ) and self._writable(key.columns, entry, actor, "select")
                statement = self._form(
                    "insert_or_update", found, columns=self._names(made), values=self._values(made),
                    keys=self._names(key.columns), column=sql.Identifier(column.name),
                    value=self._value(column, self.access.rows(entry)),
                )  # fmt: skip
                yield Cell(
                    actor.name, found.full, "insert on conflict do update",
                    self._own(entry, other) if reached else frozenset(), what="rows",
                    right=entry.right("update", actor), only=f"{key.name} of {self._name(entry, other)}",
                    before=found.present, means={} if tolerant else _NO_ROW, tolerant=tolerant,
                    trial=Trial(
                        actor.role, statement, self._context(actor),
                        look=look_statement(self.access, self.labels, found),
                    ),
                )  # fmt: skip

    def _given_away(self, found: Found, entry: Relation, actor: Actor) -> Iterator[Cell]:
        """A row of one's own is not made another's: only where the columns that say whose it is may be written."""
        right = entry.right("update", actor)
        rows = self.access.rows(entry)
        names = [name for name in entry.scoped(right) if entry.allows_column("update", actor.role, name)]
        own = [row for row in rows if self.access.reaches(entry, right, actor, row)]
        others = [row for row in rows if row not in own]
        for values in {tuple(row.get(name) for name in names) for row in others} if own and names else ():
            given = dict(zip(names, values, strict=True))
            kept = all(self.access.reaches(entry, right, actor, row | given) for row in own)
            parts: dict[str, sql.Composable] = {"assignments": self._assignments(given)}
            if self.live:
                keys = self.labels.array(identity(self.access, entry, row) for row in rows)
                parts |= {"key": sql.Identifier(entry.keys[0]), "keys": keys}
            trial = Trial(
                actor.role, self._form("give_away_live" if self.live else "give_away", found, **parts),
                self._context(actor), look=look_statement(self.access, self.labels, found),
            )  # fmt: skip
            yield Cell(
                actor.name, found.full, "update that gives away",
                frozenset[str]().union(*(self._own(entry, row) for row in own)) if kept else frozenset(),
                ", ".join(names), what="rows", right=right, trial=trial, before=found.present, means=_NO_ROW,
            )  # fmt: skip

    def _assignments(self, row: Row) -> sql.Composable:
        return sql.SQL(", ").join(
            sql.SQL("{} = {}").format(sql.Identifier(name), self.labels.literal(value)) for name, value in row.items()
        )

    # What keys tell ------------------------------------------------------------------------------------------

    def _tells(self, found: Found, entry: Relation, actor: Actor) -> Iterator[Cell]:
        """A key tells of a row that the actor cannot see when an own row with its value is answered otherwise."""
        rows = self.access.rows(entry)
        select = entry.right("select", actor)
        hidden = [row for row in rows if not self.access.reaches(entry, select, actor, row)]
        for command in ("insert", "update"):
            if entry.right(command, actor) in (REFUSED, "none"):
                continue
            for key in self.keys.get(found.oid, ()):
                if self._chosen(key.columns, entry, actor, command):
                    for other in hidden:
                        yield from self._unique_tells(found, entry, actor, command, key, other)
            for reference in self.references:
                columns = [source for source, _ in reference.columns]
                if reference.source == found.oid and self._chosen(columns, entry, actor, command):
                    yield from self._reference_tells(found, entry, actor, command, reference)
        for reference in self.references:
            if reference.target == found.oid and entry.right("delete", actor) not in (REFUSED, "none", "all"):
                yield from self._referenced_tells(found, entry, actor, reference)

    def _unique_tells(
        self, found: Found, entry: Relation, actor: Actor, command: str, key: Key, other: Row
    ) -> Iterator[Cell]:
        before = ["SET CONSTRAINTS ALL IMMEDIATE"]
        values: Row = {}
        for column in found.columns:
            if column.name not in key.columns:
                continue
            values[column.name] = other.get(column.name)
            if values[column.name] is None:
                values[column.name] = _PROBE if column.category in "SU" else None
                before.append(self._set(found, entry, other, {column.name: values[column.name]}))
        yield from self._key_cells(
            found, entry, actor, command, key.name, values,
            {"23505": self._own(entry, other), "00000": frozenset(), **_NO_ROW}, before,
        )  # fmt: skip

    def _reference_tells(
        self, found: Found, entry: Relation, actor: Actor, command: str, reference: Reference
    ) -> Iterator[Cell]:
        target = next((each for each in self.catalog.relations if each.oid == reference.target), None)
        if target is None or target.entry is None:
            return
        right = target.entry.right("select", actor)
        for other in self.access.rows(target.entry):
            if not self.access.reaches(target.entry, right, actor, other):
                yield from self._key_cells(
                    found, entry, actor, command, reference.name, reference.values(other),
                    {"00000": self._own(target.entry, other), **_NO_ROW}, ["SET CONSTRAINTS ALL IMMEDIATE"],
                )  # fmt: skip

    def _key_cells(
        self, found: Found, entry: Relation, actor: Actor, command: str, name: str, values: Row,
        means: dict[str, str | frozenset[str]], before: list[str],
    ) -> Iterator[Cell]:  # fmt: skip
        """One row with another's value: made for each candidate that is the actor's own, or an own row changed."""
        learnt = next(value for value in means.values() if value)
        assert isinstance(learnt, frozenset)  # noqa: S101 - the row that the key would tell of
        cell = Cell(
            actor.name, found.full, command, learnt if name in self.access.oracles.get(found.full, {}) else frozenset(),
            name, what=KEY, right=entry.right(command, actor), means=means, at_most=True,
        )  # fmt: skip
        right = entry.right(command, actor)
        unknown = any(value is None for value in values.values())
        if unknown or (command == "insert" and not entry.candidates):
            # Nothing to try it with: that is a failure, unless it is declared to tell.
            yield replace(cell, expected="unknown" if cell.expected else frozenset())
            return
        if command == "update":
            # What of the key cannot be written has to be the own row's already.
            written = {key: value for key, value in values.items() if entry.allows_column("update", actor.role, key)}
            fixed = {key: value for key, value in values.items() if key not in written}
            own = next(
                (
                    row
                    for row in self.access.rows(entry)
                    if self.access.reaches(entry, right, actor, row)
                    and all(row.get(key) == value for key, value in fixed.items())
                ),
                None,
            )
            if own is not None and self._key(entry, actor) == entry.keys[0]:
                statement = self._form(
                    "update_one", found, assignments=self._assignments(written), key=sql.Identifier(entry.keys[0]),
                    own=self.labels.literal(identity(self.access, entry, own)),
                )  # fmt: skip
                yield replace(cell, trial=Trial(actor.role, statement, self._context(actor), before=tuple(before)))
            return
        if (row := self._candidate(entry, actor)) is not None:
            made = row | values
            parts = {"columns": self._names(made), "values": self._values(made)}
            statement = self._sql("insert_row", found, **parts)
            yield replace(cell, trial=Trial(actor.role, statement, self._context(actor), before=tuple(before)))

    def _referenced_tells(self, found: Found, entry: Relation, actor: Actor, reference: Reference) -> Iterator[Cell]:
        """Removing one's own row, to which another's points, is refused, or takes that one along."""
        source = next((each for each in self.catalog.relations if each.oid == reference.source), None)
        if source is None or source.entry is None or not source.present or source.partition_of:
            return
        delete, select = entry.right("delete", actor), source.entry.right("select", actor)
        own = next((row for row in self.access.rows(entry) if self.access.reaches(entry, delete, actor, row)), None)
        other = next(
            (
                row
                for row in self.access.rows(source.entry)
                if not self.access.reaches(source.entry, select, actor, row)
            ),
            None,
        )
        if own is None or other is None or None in reference.values(own).values():
            return
        points = self._set(source, source.entry, other, reference.values(own))
        before = [*self._clear(found, entry)]
        if len(columns := reference.values(own)) == 1 and (column := next(iter(columns))) in source.entry.keys:
            # Of each row there is one at most: the own row's makes way for another's.
            before.append(self._form("delete_one", source, key=sql.Identifier(column), own=self._values(columns)))
        statement = self._form(
            "delete_one", found, key=sql.Identifier(entry.keys[0]),
            own=self.labels.literal(identity(self.access, entry, own)),
        )  # fmt: skip
        learnt = self._own(source.entry, other)
        named = reference.name in self.access.oracles.get(found.full, {})
        # That the row goes along, or that it keeps one's own from going, tells that it is there.
        yield Cell(
            actor.name, found.full, "delete", learnt if named else frozenset(), reference.name, what=KEY, right=delete,
            trial=Trial(
                actor.role, statement, self._context(actor),
                before=(*before, points, "SET CONSTRAINTS ALL IMMEDIATE"),
            ),
            means={"23": learnt, "00000": learnt, "42501": frozenset()}, at_most=True,
        )  # fmt: skip

    # Sequences -----------------------------------------------------------------------------------------------

    def _sequence(self, found: Found, entry: Relation) -> Iterator[Cell]:
        """The right to INSERT stands for nextval, the right to UPDATE for setval; neither is undone, so not live."""
        for actor in self._one_a_role():
            for form, command, privilege in (("nextval", "insert", "USAGE"), ("setval", "update", "UPDATE")):
                held = entry.right(command, actor) != REFUSED
                statement = self._form(form, found, sequence=sql.Literal(found.identifier.as_string(None)))
                yield Cell(
                    actor.role, found.full, form, ALLOWED if held else REFUSED,
                    trial=None if self.live else Trial(actor.role, statement),
                    question=Question(actor.role, found.oid, privilege, kind="S"),
                )  # fmt: skip

    # Parts ---------------------------------------------------------------------------------------------------

    def _one_a_role(self) -> list[Actor]:
        return list({actor.role: actor for actor in reversed(self.access.actors)}.values())

    def _key(self, entry: Relation, actor: Actor) -> str | None:
        return next((key for key in entry.keys if entry.allows_column("select", actor.role, key)), None)

    def _candidate(self, entry: Relation, actor: Actor) -> Row | None:
        """Return the first row that an actor may insert."""
        right = entry.right("insert", actor)
        rows = (row for candidate in entry.candidates for row in self.access.each(candidate))
        return next((row for row in rows if self.access.reaches(entry, right, actor, row)), None)

    def _column(self, found: Found, entry: Relation, actor: Actor) -> Column | None:
        """Choose a column to change: one that can be left out, where there is one."""
        allowed = [each for each in found.columns if entry.allows_column("update", actor.role, each.name)]
        free = [each for each in allowed if not each.needed and each.name not in entry.keys]
        return next(iter(free or allowed), None)

    def _both(self, found: Found, entry: Relation, actor: Actor, command: str, key: str) -> str | frozenset[str]:
        """Return the rows that are covered by the right to see and by another."""
        rights = [entry.right("select", actor), entry.right(command, actor)]
        if REFUSED in rights:
            return REFUSED
        first, second = (self._expected(found, entry, right, actor, key) for right in rights)
        return first & second

    def _writable(self, columns: Any, entry: Relation, actor: Actor, command: str) -> bool:  # noqa: ANN401
        return entry.right(command, actor) != REFUSED and all(
            entry.allows_column(command, actor.role, name) for name in columns
        )

    def _chosen(self, columns: Any, entry: Relation, actor: Actor, command: str) -> bool:  # noqa: ANN401
        """Say whether an actor can choose a key's value: all of it in a new row, a part of it in one that is there."""
        some = all if command == "insert" else any
        return some(entry.allows_column(command, actor.role, name) for name in columns)

    def _own(self, entry: Relation, row: Row) -> frozenset[str]:
        return frozenset({self.labels.text(identity(self.access, entry, row))})

    def _name(self, entry: Relation, row: Row) -> str:
        return str(identity(self.access, entry, row))

    def _set(self, found: Found, entry: Relation, row: Row, values: Row) -> str:
        """Write the statement that gives a synthetic row other values, before the trial."""
        return self._form(
            "update_one", found, assignments=self._assignments(values), key=sql.Identifier(entry.keys[0]),
            own=self.labels.literal(identity(self.access, entry, row)),
        )  # fmt: skip

    def _names(self, names: Any) -> sql.Composable:  # noqa: ANN401
        return sql.SQL(", ").join(map(sql.Identifier, names))

    def _values(self, row: Row) -> sql.Composable:
        return sql.SQL(", ").join(map(self.labels.literal, row.values()))

    @staticmethod
    def _one_by_one(statements: Iterable[str]) -> str:
        """Write statements as one, in which one that is refused does not keep the others from running."""
        blocks = [query("forms", "unless_refused").replace("{statement}", each) for each in statements]
        return query("forms", "one_by_one").replace("{blocks}", "\n".join(blocks))

    def _form(self, name: str, found: Found, **parts: sql.Composable) -> str:
        return sql.SQL(query("forms", name)).format(relation=found.identifier, **parts).as_string(None)
