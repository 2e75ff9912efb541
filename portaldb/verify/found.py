"""What the catalog has: relations that our roles reach, their columns, the functions, the roles."""

from dataclasses import dataclass, field
from typing import Any

from psycopg import sql

from portaldb.database import Connection, query
from portaldb.verify.access import Access, Relation
from portaldb.verify.labels import Labels


@dataclass(frozen=True)
class Column:
    """A column: what can be written into it, and whether it is a primary key alone."""

    name: str
    type: str
    category: str
    needed: bool
    alone_primary: bool


@dataclass(frozen=True)
class Policy:
    """A policy of a relation: for 'all' or one command, and whom it names ('public' for everyone)."""

    name: str
    permissive: bool
    command: str
    roles: tuple[str, ...]
    using: str | None
    check: str | None

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands that it is for."""
        return ("select", "insert", "update", "delete") if self.command == "all" else (self.command,)

    @property
    def lets_all_through(self) -> bool:
        """Whether it keeps no row from those whom it names."""
        return self.permissive and {self.using, self.check} <= {"true", None}


@dataclass(frozen=True)
class Rule:
    """What a relation refuses or does by itself: a constraint, a unique index, a NOT NULL column, a trigger."""

    name: str
    kind: str
    definition: str


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key of one column: from which table and column to which, and what a DELETE there does."""

    name: str
    oid: int
    target: int
    source: str
    source_column: str
    target_column: str
    on_delete: str


@dataclass(frozen=True)
class Found:
    """A relation of the catalog, and which synthetic rows it shows to whoever sees everything."""

    oid: int
    schema: str
    name: str
    kind: str
    partition_of: str | None
    fixed: bool
    options: list[str]
    forced: bool
    columns: tuple[Column, ...]
    entry: Relation | None = None
    present: dict[str, str] = field(default_factory=dict)
    referred: tuple[tuple[str, str, str], ...] = ()
    policies: tuple[Policy, ...] = ()
    rules: tuple[Rule, ...] = ()

    @property
    def full(self) -> str:
        """Its name with the schema."""
        return f"{self.schema}.{self.name}"

    @property
    def is_table(self) -> bool:
        """Whether it is a table, partitioned or not."""
        return self.kind in ("r", "p")

    @property
    def identifier(self) -> sql.Identifier:
        """Its name in SQL."""
        return sql.Identifier(self.schema, self.name)


@dataclass(frozen=True)
class Function:
    """A function of the catalog that no extension brought."""

    oid: int
    schema: str
    signature: str
    called: str
    arguments: tuple[str, ...]
    kind: str
    unfolds: bool
    """Whether the planner may put its body in the place of a call."""
    definer: bool
    owner: str
    pinned: bool

    @property
    def full(self) -> str:
        """Its name with the schema and the types of its arguments."""
        return f"{self.schema}.{self.signature}"


@dataclass(frozen=True)
class Catalog:
    """What there is."""

    version: int
    relations: tuple[Found, ...]
    functions: tuple[Function, ...]
    roles: tuple[dict[str, Any], ...]
    defaults: tuple[dict[str, Any], ...]
    foreign_keys: tuple[ForeignKey, ...]


def look(connection: Connection, access: Access, labels: Labels, *, rows_too: bool = True) -> Catalog:
    """Read the catalog, and which synthetic rows each relation shows to this login, which sees everything."""
    roles = {"roles": list(access.roles), "schemas": access.schemas}
    rows = connection.execute(query("verify", "relations"), roles).fetchall()
    columns: dict[int, list[Column]] = {}
    for each in connection.execute(query("verify", "columns"), {"oids": [row["oid"] for row in rows]}):
        columns.setdefault(each.pop("oid"), []).append(Column(**each))
    referred: dict[int, list[tuple[str, str, str]]] = {}
    keys = tuple(ForeignKey(**each) for each in connection.execute(query("verify", "foreign_keys"), {}))
    for key in keys:
        if key.on_delete == "refuse" and key.oid != key.target:
            referred.setdefault(key.target, []).append((key.source, key.source_column, key.target_column))
    oids = {"oids": [row["oid"] for row in rows]}
    policies: dict[int, list[Policy]] = {}
    for each in connection.execute(query("verify", "policies"), oids):
        policies.setdefault(each.pop("oid"), []).append(Policy(**{**each, "roles": tuple(each["roles"])}))
    rules: dict[int, list[Rule]] = {}
    for each in connection.execute(query("verify", "rules"), oids):
        rules.setdefault(each.pop("oid"), []).append(Rule(**each))
    relations = []
    for row in rows:
        entry = access.entry(f"{row['schema']}.{row['name']}", row["partition_of"])
        found = Found(
            **row, columns=tuple(columns.get(row["oid"], ())), entry=entry,
            referred=tuple(referred.get(row["oid"], ())), policies=tuple(policies.get(row["oid"], ())),
            rules=tuple(rules.get(row["oid"], ())),
        )  # fmt: skip
        relations.append(_with_present(connection, access, labels, found) if rows_too else found)
    functions = [
        Function(**{**each, "arguments": tuple(each["arguments"])})
        for each in connection.execute(query("verify", "functions"), roles)
    ]
    known = connection.execute(query("verify", "roles"), roles).fetchall()
    owners = {"owners": access.owners}
    defaults = connection.execute(query("verify", "defaults"), owners).fetchall()
    return Catalog(
        connection.info.server_version, tuple(relations), tuple(functions), tuple(known), tuple(defaults), keys
    )


def _with_present(connection: Connection, access: Access, labels: Labels, found: Found) -> Found:
    if found.entry is None or not found.entry.keys or not access.rows(found.entry):
        return found
    if found.entry.by_context:
        shown = {labels.text(identity(access, found.entry, row)): "" for row in access.rows(found.entry)}
        return Found(**{**found.__dict__, "present": shown})
    return Found(**{**found.__dict__, "present": present(connection, look_statement(access, labels, found))})


def look_statement(access: Access, labels: Labels, found: Found) -> str:
    """Write the statement that shows which synthetic rows a relation has, and where they lie."""
    assert found.entry is not None  # noqa: S101 - asked of relations with an entry
    place = "t.tableoid::text || t.ctid::text" if found.is_table else "''"
    return (
        sql.SQL(query("verify", "present"))
        .format(
            key=sql.Identifier("t", found.entry.keys[0]),
            place=sql.SQL(place),
            relation=found.identifier,
            keys=labels.array(identity(access, found.entry, row) for row in access.rows(found.entry)),
        )
        .as_string(None)
    )


def identity(access: Access, entry: Relation, row: dict[str, Any], key: str | None = None) -> Any:  # noqa: ANN401
    """Return the value by which a relation's synthetic row is known; of a view, the key of what it is made of."""
    if entry.rows_of:
        return row[access.relations[entry.rows_of].keys[0]]
    return row[key or entry.keys[0]]


def present(connection: Connection, statement: str) -> dict[str, str]:
    """Return where each synthetic row of a relation lies, by key."""
    row = connection.execute(statement.encode()).fetchone()
    return dict(row["found"]) if row else {}
