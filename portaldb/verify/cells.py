"""What is to be tried: a cell for each relation, command, column and actor, derived from the catalog and the access.

Nothing here asks the server: the same catalog and access file give the same cells.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg import sql

from portaldb.database import query
from portaldb.verify.access import STRONG, Access, Actor, Relation, Row
from portaldb.verify.found import Catalog, Column, Found, Function, identity, look_statement
from portaldb.verify.labels import Labels

ALLOWED, REFUSED = "allowed", "refused"

MAINTAIN_FROM = 170000
"""The version of PostgreSQL that has the privilege MAINTAIN."""


@dataclass(frozen=True)
class Trial:
    """A statement to run as somebody; what it returns or changes is looked at, and it is undone."""

    role: str
    statement: str
    context: str = ""
    before: tuple[str, ...] = ()
    look: str = ""
    fetch: bool = False
    row_security: str = ""
    session: str = ""
    copy: bool = False
    """Whether it is a COPY from or to the client, which no function of the server can run."""

    def as_dict(self) -> dict[str, Any]:
        """Return it in the form that the server's function takes."""
        found: dict[str, Any] = {"role": self.role, "context": self.context, "sql": self.statement}
        found |= {"before": list(self.before), "fetch": self.fetch}
        for name in ("look", "row_security", "session"):
            if getattr(self, name):
                found[name] = getattr(self, name)
        return found


@dataclass(frozen=True)
class Question:
    """A privilege to look up in the catalog, where trying would hold a strong lock or cannot be done."""

    role: str
    oid: int
    privilege: str
    column: str | None = None
    kind: str = ""
    """'f' for a function, 'S' for a sequence, empty for a table or view."""


@dataclass(frozen=True)
class Cell:
    """One square of the matrix. `expected` is allowed, refused, or the keys of the rows that are reached."""

    actor: str
    relation: str
    command: str
    expected: str | frozenset[str]
    column: str = ""
    what: str = "privilege"
    right: str = ""
    trial: Trial | None = None
    question: Question | None = None
    before: dict[str, str] = field(default_factory=dict, compare=False, hash=False)
    tolerant: bool = False
    """Whether a violated constraint counts as reached: the owner's blind writes meet foreign keys."""
    only: str = ""
    """The one row that an INSERT tries, in words."""
    means: dict[str, str | frozenset[str]] = field(default_factory=dict, compare=False, hash=False)
    """What an SQLSTATE, or its class, stands for where it is not what it is for other cells."""
    at_most: bool = False
    """Whether to reach fewer rows is as meant, too."""


def derive(access: Access, catalog: Catalog, labels: Labels, *, live: bool, only: str | None = None) -> list[Cell]:
    """Return every cell, or those of one relation `only`.

    On a running database (`live`) without those that need a strong lock or unbounded writes.
    """
    maker = Maker(access, catalog, labels, live)
    derived = [
        cell
        for found in catalog.relations
        if found.entry and only in (None, found.full)
        for cell in maker.relation(found, found.entry)
    ]
    if only is None:
        derived += [cell for function in catalog.functions for cell in maker.function(function)]
        derived += maker.escapes()
    return derived


def into_state(access: Access, derived: list[Cell], labels: Labels, *, live: bool) -> list[Cell]:
    """Let each trial of an actor that needs a state begin by putting the database into it."""
    before = {actor.name: labels.filled(actor.before) for actor in access.actors if actor.before and not live}
    return [
        replace(cell, trial=replace(cell.trial, before=(before[cell.actor], *cell.trial.before)))
        if cell.trial and cell.actor in before
        else cell
        for cell in derived
    ]


@dataclass(frozen=True)
class Maker:
    """Makes cells of relations, functions and roles from the catalog and the access file."""

    access: Access
    catalog: Catalog
    labels: Labels
    live: bool

    def relation(self, found: Found, entry: Relation) -> Iterator[Cell]:
        """Yield what every role and every actor may do with a relation."""
        for role in self.access.roles:
            actors = [actor for actor in self.access.actors if actor.role == role]
            if not actors:
                continue
            yield from self._privileges(found, entry, role, actors[0])
            yield from self._strong(found, entry, role, actors[0])
        if not found.present:
            return
        for actor in self.access.actors:
            yield from self._rows(found, entry, actor)
        if found.partition_of and not self.live:
            yield from self._mistaken_grants(found, entry)

    def _privileges(self, found: Found, entry: Relation, role: str, actor: Actor) -> Iterator[Cell]:
        """Every command on every column, as the role: runs through the rights, reaches no row."""
        for command in ("select", "insert", "update"):
            held = entry.right(command, actor) != REFUSED
            if found.kind == "S" and command != "select":
                continue
            for column in found.columns:
                allowed = held and entry.allows_column(command, role, column.name)
                question = Question(role, found.oid, command.upper(), column.name)
                trial = None
                if not (found.fixed and command != "select"):
                    statement = self._sql(f"{command}_column", found, column=sql.Identifier(column.name))
                    trial = Trial(role, statement)
                yield Cell(
                    role, found.full, command, ALLOWED if allowed else REFUSED, column.name,
                    trial=trial, question=question,
                )  # fmt: skip
                if found.kind == "v" and command == "select":
                    # A view that runs as its reader refuses for the table beneath, whatever is granted on itself.
                    yield Cell(
                        role, found.full, command, ALLOWED if allowed else REFUSED, column.name, question=question
                    )
        if found.kind != "S":
            allowed = entry.right("delete", actor) != REFUSED
            trial = None if found.fixed else Trial(role, self._sql("delete_none", found))
            yield Cell(
                role, found.full, "delete", ALLOWED if allowed else REFUSED,
                trial=trial, question=Question(role, found.oid, "DELETE"),
            )  # fmt: skip

    def _strong(self, found: Found, entry: Relation, role: str, actor: Actor) -> Iterator[Cell]:
        for command in STRONG:
            if found.kind == "S" or (command == "maintain" and self.catalog.version < MAINTAIN_FROM):
                continue
            expected = ALLOWED if entry.right(command, actor) != REFUSED else REFUSED
            question = Question(role, found.oid, command.upper())
            yield Cell(role, found.full, command, expected, question=question)
            statement = "" if self.live or not found.is_table else self._strong_statement(found, command)
            if statement:
                yield Cell(role, found.full, command, expected, trial=Trial(role, statement), question=question)

    def _strong_statement(self, found: Found, command: str) -> str:
        if command in ("truncate", "trigger") or (command == "maintain" and found.kind == "r"):
            return self._sql(command, found)
        alone = next((column for column in found.columns if column.alone_primary), None)
        if command == "references" and alone:
            return self._sql(command, found, column=sql.Identifier(alone.name), type=sql.SQL(alone.type))
        return ""

    def _rows(self, found: Found, entry: Relation, actor: Actor) -> Iterator[Cell]:
        """Which of the synthetic rows an actor reaches."""
        if entry.right("select", actor) != REFUSED:
            yield from self._select_rows(found, entry, actor)
        if not found.is_table:
            return
        if entry.right("update", actor) != REFUSED:
            scoped = entry.scoped(entry.right("update", actor))  # tried as 'update that gives away'
            for column in found.columns:
                if column.name not in scoped and entry.allows_column("update", actor.role, column.name):
                    statement = self._write(found, entry, "update", column=column)
                    yield self._change(found, entry, actor, "update", statement, column.name)
        if entry.right("delete", actor) != REFUSED:
            yield self._change(found, entry, actor, "delete", self._write(found, entry, "delete"))
        if entry.right("insert", actor) != REFUSED:
            for candidate in entry.candidates:
                for row in self.access.each(candidate):
                    yield self._insert(found, entry, actor, row)

    def _select_rows(self, found: Found, entry: Relation, actor: Actor) -> Iterator[Cell]:
        key = next((key for key in entry.keys if entry.allows_column("select", actor.role, key)), None)
        if key is None:
            return
        right = entry.right("select", actor)
        rows = self.access.rows(entry)
        statement = self._sql(
            "select_rows", found,
            key=sql.Identifier(key), keys=self.labels.array(identity(self.access, entry, row, key) for row in rows),
        )  # fmt: skip
        trial = Trial(actor.role, statement, self._context(actor), fetch=True)
        expected = self._expected(found, entry, right, actor, key)
        yield Cell(actor.name, found.full, "select", expected, what="rows", right=right, trial=trial)
        if entry.forced and not self.access.roles[actor.role].bypassrls:
            yield Cell(
                actor.name, found.full, "select", REFUSED, what="row_security off", right="refused",
                trial=Trial(actor.role, statement, self._context(actor), fetch=True, row_security="off"),
            )  # fmt: skip

    def _change(
        self, found: Found, entry: Relation, actor: Actor, command: str, statement: str, column: str = ""
    ) -> Cell:
        right = entry.right(command, actor)
        return Cell(
            actor.name, found.full, command, self._expected(found, entry, right, actor), column,
            what="rows", right=right, before=found.present, tolerant=right == "all",
            trial=Trial(
                actor.role, statement, self._context(actor),
                before=tuple(self._clear(found, entry)) if command == "delete" else (),
                look=look_statement(self.access, self.labels, found),
            ),
        )  # fmt: skip

    def _write(self, found: Found, entry: Relation, command: str, column: Column | None = None) -> str:
        """Write an UPDATE or DELETE that reads no column, so that only its own policies hold it; bounded when live."""
        rows = self.access.rows(entry)
        parts: dict[str, sql.Composable] = {}
        if column:
            parts |= {"column": sql.Identifier(column.name), "value": self._value(column, rows)}
        if self.live:
            keys = self.labels.array(identity(self.access, entry, row) for row in rows)
            parts |= {"key": sql.Identifier(entry.keys[0]), "keys": keys}
        return self._sql(f"{command}_rows{'_live' if self.live else ''}", found, **parts)

    def _value(self, column: Column, rows: tuple[Row, ...]) -> sql.Composable:
        """Choose a value for a column that few constraints refuse."""
        if not column.needed:
            return sql.SQL("DEFAULT")
        given = next((row[column.name] for row in rows if column.name in row), None)
        if column.category == "S":
            return self.labels.literal("@changed")
        return self.labels.literal(given)

    def _clear(self, found: Found, entry: Relation) -> Iterator[str]:
        """Remove the synthetic rows that would keep a row from being deleted."""
        for source, source_column, target_column in found.referred:
            values = [row[target_column] for row in self.access.rows(entry) if target_column in row]
            schema, _, name = source.replace('"', "").partition(".")
            referring = self.access.relations.get(f"{schema}.{name}")
            if referring and referring.unlock:
                yield referring.unlock
            yield (
                sql.SQL(query("verify", "clear"))
                .format(
                    relation=sql.Identifier(schema, name),
                    column=sql.Identifier(source_column),
                    keys=self.labels.array(values),
                )
                .as_string(None)
            )

    def _insert(self, found: Found, entry: Relation, actor: Actor, row: Row) -> Cell:
        right = entry.right("insert", actor)
        reached = self.access.reaches(entry, right, actor, row)
        statement = self._sql(
            "insert_row", found,
            columns=sql.SQL(", ").join(sql.Identifier(column) for column in row),
            values=sql.SQL(", ").join(self.labels.literal(value) for value in row.values()),
        )  # fmt: skip
        return Cell(
            actor.name, found.full, "insert", ALLOWED if reached else REFUSED,
            what="rows", right=right, tolerant=right == "all", only=_in_words(row),
            trial=Trial(actor.role, statement, self._context(actor)),
        )  # fmt: skip

    def _mistaken_grants(self, found: Found, entry: Relation) -> Iterator[Cell]:
        """A partition shows no row even to a role that is granted SELECT on it by mistake."""
        rows = self.access.rows(entry)
        keys = self.labels.array(identity(self.access, entry, row) for row in rows)
        statement = self._sql("select_rows", found, key=sql.Identifier(entry.keys[0]), keys=keys)
        for actor in self.access.actors:
            if entry.right("select", actor) == REFUSED and actor.tenant:
                grant = self._sql("grant_select", found, role=sql.Identifier(actor.role))
                trial = Trial(actor.role, statement, self._context(actor), before=(grant,), fetch=True)
                yield Cell(
                    actor.name, found.full, "select", frozenset(), what="after a mistaken GRANT", right="none",
                    trial=trial,
                )  # fmt: skip

    def function(self, function: Function) -> Iterator[Cell]:
        """Yield which roles may execute a function."""
        if function.full not in self.access.functions:
            return
        allowed = self.access.functions[function.full]
        names = [f"a{place}" for place in range(len(function.arguments))]
        values = [f"NULL::{kind} AS {name}" for kind, name in zip(function.arguments, names, strict=True)] or ["1 AS a"]
        statement = (
            sql.SQL(query("verify", "call"))
            .format(
                function=sql.SQL(function.called),
                arguments=sql.SQL(", ").join(sql.Identifier("v", name) for name in names),
                values=sql.SQL(", ".join(values)),
            )
            .as_string(None)
        )
        # Unfolded, a call is refused for a function that the body calls, too: there the catalog tells.
        tried = function.kind in "fa" and not function.unfolds
        for role in self.access.roles:
            owner = any(each.member_of and set(each.member_of) & set(allowed) for each in [self.access.roles[role]])
            expected = ALLOWED if role in allowed or owner or role == self.access.owner else REFUSED
            yield Cell(
                role, function.full, "execute", expected,
                trial=Trial(role, statement) if tried else None,
                question=Question(role, function.oid, "EXECUTE", kind="f"),
            )  # fmt: skip

    def escapes(self) -> Iterator[Cell]:
        """A role takes on no other: tried as a session of that role, which has no superuser behind it."""
        for role in self.access.roles:
            for other in self.access.roles:
                if role != other:
                    allowed = other in becomes(self.access, role)
                    statement = sql.SQL(query("verify", "set_role")).format(role=sql.Literal(other)).as_string(None)
                    yield Cell(
                        role, other, "set role", ALLOWED if allowed else REFUSED,
                        trial=Trial(role, statement, session=role),
                    )  # fmt: skip

    def _expected(
        self, found: Found, entry: Relation, right: str, actor: Actor, key: str | None = None
    ) -> frozenset[str]:
        """Return the keys of the rows that a right covers, of those that the relation has at all."""
        return frozenset(
            self.labels.text(identity(self.access, entry, row, key))
            for row in self.access.rows(entry)
            if self.labels.text(identity(self.access, entry, row)) in found.present
            and self.access.reaches(entry, right, actor, row)
        )

    def _context(self, actor: Actor) -> str:
        return self.labels.text(f"@{actor.tenant}") if actor.tenant else ""

    def _sql(self, name: str, found: Found, **parts: sql.Composable) -> str:
        return sql.SQL(query("verify", name)).format(relation=found.identifier, **parts).as_string(None)


def becomes(access: Access, role: str) -> set[str]:
    """Return the roles that a role may take on, by its memberships and theirs."""
    found: set[str] = set()
    waiting = list(access.roles[role].member_of)
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting += access.roles[name].member_of if name in access.roles else ()
    return found


def _in_words(row: Row) -> str:
    return ", ".join(f"{column} = {value}" for column, value in row.items())
