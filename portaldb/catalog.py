"""The live catalog as a list of things: each a kind, a name and a definition in one fixed spelling.

A thing is what a person would name: a column, a grant to one role, the switch of Row-Level Security on a table.
What differs between two databases made by the same migrations is left out (object ids, the order of columns,
who granted) and so is what belongs to operators: storage, statistics, autovacuum, logins granted into our roles.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg

from portaldb.bootstrap import ROLES
from portaldb.database import Connection, query, server_error
from portaldb.errors import LockTimeoutError

RECORD = frozenset({"_portaldb_migration", "_yoyo_migration", "_yoyo_log", "_yoyo_version", "yoyo_lock"})
"""The record of migrations: made by the engine and by yoyo, not by a migration."""

_RECORD_GRANTS = frozenset({("SELECT", "portal_monitor")})

ROLE_NAMES = tuple(role.name for role in ROLES)

_RELATIONS = {
    "r": "table",
    "p": "table",
    "v": "view",
    "m": "materialized view",
    "f": "foreign table",
    "S": "sequence",
}
_ATTRIBUTES = ("LOGIN", "SUPERUSER", "CREATEDB", "CREATEROLE", "REPLICATION", "BYPASSRLS", "NOINHERIT")
_TRUE, _FALSE = re.compile(r"=(?:on|yes|1|t)$", re.I), re.compile(r"=(?:off|no|0|f)$", re.I)

Row = dict[str, Any]
Address = tuple[str, int, int]
"""Where the catalog keeps a thing: its catalog table, object id and column number."""


@dataclass(frozen=True)
class Thing:
    """One thing of a database."""

    kind: str
    name: str
    """Unique within its kind; quoted as SQL needs it."""
    definition: str
    on: str = ""
    """The key of the thing it goes with when that is dropped."""
    sql: str = ""
    """The name that SQL calls it by below `on`, where that is not `name`."""

    @property
    def key(self) -> str:
        """Its kind and name, as people read it."""
        return f"{self.kind} {self.name}".strip()


@dataclass(frozen=True)
class Snapshot:
    """What a database holds; `unseen` names what the login may not read, so that nothing is judged by it."""

    version: int
    things: dict[str, Thing]
    unseen: dict[str, str]
    """A kind of thing, and why it was not read."""


@dataclass(frozen=True)
class _Relation:
    """A relation with what else the catalog says of it; folded into things at the end."""

    row: Row
    key: str
    parent: int

    @property
    def name(self) -> str:
        return str(self.row["name"])


def read(connection: Connection) -> Snapshot:
    """Read the catalog in one snapshot; writes nothing, and needs no right but CONNECT.

    Within an open transaction it sees that transaction's changes. Raises LockTimeoutError where somebody else's
    DDL holds a view or an index for more than ten seconds.
    """
    outermost = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    try:
        # Rolled back, so that the settings made for reading end with it.
        with connection.transaction(force_rollback=True):
            if outermost:
                connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            connection.execute(query("catalog", "prepare"))
            return _Reader(connection).snapshot()
    except psycopg.errors.LockNotAvailable as error:
        raise LockTimeoutError(
            f"The catalog could not be read: {error.diag.message_primary}. Somebody else is changing an object and "
            "holds its lock. Run the same command again when they are done."
        ) from None
    except psycopg.Error as error:
        raise server_error(error, "reading the catalog") from None


class _Reader:
    """Gathers the things of one database, and where the catalog keeps each, for comments and grants."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._things: dict[str, Thing] = {}
        self._addresses: dict[Address, str] = {}
        self._relations: dict[int, _Relation] = {}
        self._record: set[int] = set()
        self._unseen: dict[str, str] = {}

    def snapshot(self) -> Snapshot:
        server = self._rows("server")[0]
        self._database(server)
        self._read_relations()
        ids = list(self._relations)
        columns = self._rows("columns", relations=ids)
        self._columns(columns)
        self._sequences(self._rows("sequences", relations=ids))
        parts = {
            "constraint": self._rows("constraints", relations=ids),
            "index": self._rows("indexes", relations=ids),
            "trigger": self._rows("triggers", relations=ids),
        }
        self._constraints(parts["constraint"])
        self._indexes(parts["index"])
        self._triggers(parts["trigger"])
        self._policies(self._rows("policies", relations=ids))
        for row in self._rows("rules", relations=ids):
            self._part("rule", row, row["definition"], "pg_rewrite")
        self._partitions(parts, columns)
        self._functions_and_types()
        self._others()
        self._roles()
        self._grants()
        self._comments()
        self._jobs(server)
        return Snapshot(server["version"], self._things, self._unseen)

    def _rows(self, name: str, **values: object) -> list[Row]:
        return self._connection.execute(query("catalog", name), values).fetchall()

    def _add(
        self,
        kind: str,
        name: str,
        definition: str = "",
        *,
        on: str = "",
        sql: str = "",
        address: Address | None = None,
    ) -> str:
        thing = Thing(kind, name, definition, on, sql)
        self._things[thing.key] = thing
        if address:
            self._addresses[address] = thing.key
        return thing.key

    # --- relations -------------------------------------------------------------------------------------------------

    def _database(self, server: Row) -> None:
        self._add("database", "", f"ENCODING {server['encoding']} OWNER {server['owner']}")

    def _read_relations(self) -> None:
        rows = self._rows("relations")
        self._record = {row["oid"] for row in rows if row["name"].removeprefix("public.") in RECORD}
        rows = [row for row in rows if row["oid"] not in self._record]
        partitioned = {row["oid"] for row in rows if row["relkind"] == "p"}
        for row in rows:
            parents = row["parents"]
            parent = parents[0] if row["bound"] and parents and parents[0] in partitioned else 0
            kind = "partition" if parent else _RELATIONS[row["relkind"]]
            self._relations[row["oid"]] = _Relation(row, f"{kind} {row['name']}", parent)
        for oid, relation in self._relations.items():
            self._relation(oid, relation)

    def _relation(self, oid: int, relation: _Relation) -> None:
        row = relation.row
        kind = relation.key.removesuffix(f" {relation.name}")
        above = self._relations[relation.parent] if relation.parent else None
        self._add(
            kind, relation.name, _relation_definition(row, above, self._relations), on=above.key if above else "",
            address=("pg_class", oid, 0),
        )  # fmt: skip
        self._owner(relation.key, row["owner"])
        if row["relkind"] in "rp":
            switch = "enabled" if row["row_security"] else "disabled"
            self._add("row security", f"of {relation.name}", switch, on=relation.key)
            forced = "forced" if row["forced"] else "not forced"
            if not relation.parent:
                self._add("row security for the owner", f"of {relation.name}", forced, on=relation.key)

    def _owner(self, key: str, owner: str) -> None:
        self._add("owner", f"of {key}", owner, on=key)

    def _columns(self, rows: list[Row]) -> None:
        for row in rows:
            relation = self._relations[row["relation"]]
            # A column of a view is told by the view's definition, one of a partition by its parent's.
            shown = relation.row["relkind"] in "rpf" and not relation.parent
            address = ("pg_class", row["relation"], row["number"])
            name = f"{relation.name}.{row['name']}"
            if shown:
                self._add("column", name, row["definition"], on=relation.key, sql=row["name"], address=address)
            elif not relation.parent:
                self._addresses[address] = f"column {name}"

    def _sequences(self, rows: list[Row]) -> None:
        for row in rows:
            relation = self._relations[row["relation"]]
            self._add("sequence", relation.name, row["definition"], address=("pg_class", row["relation"], 0))

    def _part(self, kind: str, row: Row, definition: str, catalog: str) -> None:
        relation = self._relations[row["relation"]]
        name = f"{row['name']} on {relation.name}"
        self._add(kind, name, definition, on=relation.key, sql=row["name"], address=(catalog, row["oid"], 0))

    def _constraints(self, rows: list[Row]) -> None:
        for row in rows:
            if not self._relations[row["relation"]].parent and not row["parent"]:
                self._part("constraint", row, row["definition"], "pg_constraint")

    def _indexes(self, rows: list[Row]) -> None:
        for row in rows:
            relation = self._relations[row["relation"]]
            address = ("pg_class", row["oid"], 0)
            if relation.parent:
                continue
            invalid = "" if row["valid"] else " /* INVALID */"
            if not row["backs"]:
                definition = row["definition"] + invalid
                self._add("index", row["name"], definition, on=relation.key, sql=row["name"], address=address)
            elif invalid:
                self._add("validity", f"of index {row['name']}", "INVALID", on=relation.key)

    def _triggers(self, rows: list[Row]) -> None:
        for row in rows:
            if not self._relations[row["relation"]].parent:
                enabled = f" /* {row['enabled']} */" if row["enabled"] else ""
                self._part("trigger", row, row["definition"] + enabled, "pg_trigger")

    def _policies(self, rows: list[Row]) -> None:
        for row in rows:
            self._part("policy", row, row["definition"], "pg_policy")

    def _partitions(self, parts: dict[str, list[Row]], rows: list[Row]) -> None:
        """Say of each partition in what it is not like its parent; a job makes them, so no list can name them."""
        columns: dict[int, set[str]] = {}
        for row in rows:
            columns.setdefault(row["relation"], set()).add(f"{row['name']} {row['definition']}")
        for oid, relation in self._relations.items():
            if relation.parent:
                unlike = [f"column {each}" for each in columns[relation.parent] - columns[oid]]
                missing, extra = _against_parent(oid, relation.parent, parts)
                lines = [f"lacks {each}" for each in sorted([*unlike, *missing])]
                lines += [f"has besides: column {each}" for each in sorted(columns[oid] - columns[relation.parent])]
                lines += [f"has besides: {each}" for each in sorted(extra)]
                thing = self._things[relation.key]
                definition = "\n".join([thing.definition, *(f"    {line}" for line in lines)])
                self._things[relation.key] = Thing(thing.kind, thing.name, definition, thing.on)

    # --- functions, types, schemas and the rest --------------------------------------------------------------------

    def _functions_and_types(self) -> None:
        for row in self._rows("functions"):
            definition = row["definition"].replace("\r\n", "\n").rstrip()
            key = self._add(row["kind"], row["name"], definition, address=("pg_proc", row["oid"], 0))
            self._owner(key, row["owner"])
        for row in self._rows("types"):
            key = self._add(row["kind"], row["name"], row["definition"], address=("pg_type", row["oid"], 0))
            self._owner(key, row["owner"])
        for row in self._rows("schemas"):
            key = self._add("schema", row["name"], address=("pg_namespace", row["oid"], 0))
            self._owner(key, row["owner"])

    def _others(self) -> None:
        for row in self._rows("extensions"):
            self._add("extension", row["name"], row["definition"])
        for row in self._rows("others"):
            self._add(row["kind"], row["name"], row["definition"])
        for row in self._rows("default_privileges"):
            where = f" in schema {row['schema']}" if row["schema"] else ""
            self._add("default privileges", f"of {row['role']} on {row['objects']}{where}", row["definition"])

    def _roles(self) -> None:
        names = list(ROLE_NAMES)
        for row in self._rows("roles", roles=names):
            key = self._add("role", row["name"])
            for attribute in _ATTRIBUTES:
                if row[attribute]:
                    self._add("attribute", f"{attribute} of role {row['name']}", on=key, sql=attribute)
        for row in self._rows("memberships", roles=names):
            name = f"of {row['member']} in {row['granted']}"
            self._add("membership", name, row["definition"].strip(), on=f"role {row['member']}")
        for row in self._rows("settings", roles=names):
            whose = f"of role {row['role']}" if row["role"] else "of every role"
            here = " in this database" if row["here"] else ""
            on = f"role {row['role']}" if row["role"] else "database"
            self._add("setting", f"{row['name']} {whose}{here}", row["definition"], on=on, sql=row["name"])

    # --- what hangs on other things --------------------------------------------------------------------------------

    def _oids(self, catalog: str) -> list[int]:
        return [oid for name, oid, sub in self._addresses if name == catalog and sub == 0]

    def _grants(self) -> None:
        relations = [*self._relations, *self._record]
        functions, types, schemas = (self._oids(name) for name in ("pg_proc", "pg_type", "pg_namespace"))
        rows = self._rows("grants", relations=relations, functions=functions, types=types, schemas=schemas)
        lacking: dict[str, list[str]] = {}
        for row in rows:
            key = self._grantable(row)
            if key is None:
                continue
            if row["owner_lacks"]:
                lacking.setdefault(key, []).append(row["privilege"])
                continue
            self._grant(row, key)
        for key, privileges in lacking.items():
            self._add("rights", f"of the owner on {key}", f"all but {', '.join(sorted(privileges))}", on=key)
        known = [*relations, *functions, *types, *schemas]
        for row in self._rows("system_grants", roles=list(ROLE_NAMES), known=known):
            self._grant(row, row["name"])

    def _grantable(self, row: Row) -> str | None:
        if row["catalog"] == "pg_database":
            return "database"
        oid, sub = row["oid"], row["sub"]
        if oid in self._record:
            # Whatever else is granted on the record lets somebody unmake it.
            expected = row["owner_lacks"] or (row["privilege"], row["grantee"]) in _RECORD_GRANTS
            return None if expected else "the record of migrations"
        if sub:
            relation = self._relations[oid]
            return self._addresses.get(("pg_class", oid, sub), f"column {sub} of {relation.key}")
        return self._addresses[row["catalog"], oid, 0]

    def _grant(self, row: Row, key: str) -> None:
        option = "WITH GRANT OPTION" if row["grantable"] else ""
        name = f"{row['privilege']} on {key} to {row['grantee']}"
        self._add("grant", name, option, on=key, sql=f"{row['privilege']} {row['grantee']}")

    def _comments(self) -> None:
        for row in self._rows("comments"):
            key = self._addresses.get((row["catalog"], row["oid"], row["sub"]))
            if key and not key.startswith("schema "):
                self._add("comment", f"on {key}", row["definition"], on=key)

    def _jobs(self, server: Row) -> None:
        if server["reads_jobs"]:
            for row in self._rows("jobs"):
                self._add("job", row["name"], _job(row))
        elif "table public.jobs" in self._things:
            self._unseen["job"] = "this login may not read public.jobs"
        if not server["has_cron"]:
            self._unseen["cron job"] = "pg_cron is not in this database"
            return
        if not server["sees_every_row"]:
            if not server["may_be_maintenance"]:
                self._unseen["cron job"] = "this login may not read pg_cron's jobs"
                return
            self._connection.execute(query("catalog", "be_maintenance"))
        try:
            rows = self._rows("cron_jobs", roles=list(ROLE_NAMES))
        except psycopg.errors.InsufficientPrivilege:
            self._unseen["cron job"] = "portal_maintenance may not use pg_cron's schema"
            return
        for row in rows:
            whose = "" if row["username"] == "portal_maintenance" else f"AS {row['username']} "
            self._add("cron job", row["name"], whose + _job(row))


def _job(row: Row) -> str:
    repeats = " (until it returns 0)" if row.get("repeats") else ""
    return f"{row['schedule']} {row['command']}{repeats}" + ("" if row["active"] else " (inactive)")


def _options(given: Iterable[str]) -> list[str]:
    """Return a relation's options in one spelling, without those that are an operator's to tune."""
    kept = [each for each in given if not each.startswith(("autovacuum_", "toast."))]
    return sorted(_FALSE.sub("=false", _TRUE.sub("=true", each)) for each in kept)


def _relation_definition(row: Row, above: _Relation | None, relations: dict[int, _Relation]) -> str:
    options = _options(row["options"])
    with_options = f" WITH ({', '.join(options)})" if options else ""
    if row["relkind"] in "vm":
        return f"{with_options} AS\n{row['body'].rstrip().rstrip(';')}".strip()
    words = {"u": "UNLOGGED", "t": "TEMPORARY"}.get(row["persistence"], "")
    if above:
        words = f"{words} OF {above.name} {row['bound']}"
    elif row["parents"]:
        named = [relations[oid].name if oid in relations else str(oid) for oid in row["parents"]]
        words = f"{words} INHERITS ({', '.join(named)})"
    if row["partition_key"]:
        words = f"{words} PARTITION BY {row['partition_key']}"
    if row["method"] not in (None, "heap"):
        words = f"{words} USING {row['method']}"
    return (words + with_options).strip()


def _against_parent(oid: int, parent: int, parts: dict[str, list[Row]]) -> tuple[set[str], set[str]]:
    """Return what a partition lacks of its parent's constraints, indexes and triggers, and what it has besides."""
    missing: set[str] = set()
    extra: set[str] = set()
    for kind, rows in parts.items():
        own = [row for row in rows if row["relation"] == oid]
        for row in rows:
            if row["relation"] == parent and _inheritable(kind, row):
                heirs = [each for each in own if _descends(kind, each, row)]
                if not heirs:
                    missing.add(f"{kind} {row['name']}")
                own = [each for each in own if each not in heirs]
        extra |= {f"{kind} {each['name']}: {each['definition']}" for each in own if not each.get("backs")}
    return missing, extra


def _inheritable(kind: str, row: Row) -> bool:
    if kind == "trigger":
        # The server copies those of rows; one of TRUNCATE is made by the job, or a partition could be emptied past it.
        return " FOR EACH ROW " in row["definition"] or " TRUNCATE ON " in row["definition"]
    return not (kind == "index" and row["backs"])


def _descends(kind: str, child: Row, parent: Row) -> bool:
    if kind == "constraint" and parent["contype"] == "c":
        # A CHECK is merged with its parent's of the same name, which must say the same.
        return bool(child["inherited"] and child["name"] == parent["name"])
    if kind == "trigger" and " TRUNCATE ON " in parent["definition"]:
        said = [re.sub(r" ON \S+ ", " ON … ", each["definition"]) for each in (child, parent)]
        return bool(said[0] == said[1] and child["enabled"] == parent["enabled"])
    if child["parent"] != parent["oid"]:
        return False
    if kind == "trigger":
        return bool(child["enabled"] == parent["enabled"])
    if kind == "constraint":
        # The triggers of a foreign key can be disabled on one partition alone.
        return bool(child["definition"].endswith("*/") == parent["definition"].endswith("*/"))
    return bool(child["valid"])
