"""What services reach, as the catalog has it: functions with what their COMMENTs say, relations, constraints, channels.

scripts/api_reference.py makes docs/api.md of it, and scripts/api_contract.py the contract.
"""

import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from portaldb.queries import split

APP = "portal_app"
ROLES = (APP, "portal_runner", "portal_maintenance", "portal_monitor")
"""Whose part of the database is told."""

_SHORT = (("timestamp with time zone", "timestamptz"), ("character varying", "varchar"))
_KEYED = re.compile(r"^(Audits|Errors|Example): ", re.MULTILINE)
_ACTION = re.compile(r"\b(?:log(?:in|out)|[a-z]+(?:_[a-z]+)+)\b")
_CODE = re.compile(r"(?:^|; )([0-9A-Z]{5}) ")
_RAISED = re.compile(r"\bERRCODE\s*=\s*'(\w+)'|\bRAISE\s+SQLSTATE\s+'(\w{5})'", re.I)
_LITERAL = re.compile(r"'(?:[^']|'')*'")
_CALLED = re.compile(r"\b(?:public\.)?([a-z_][a-z0-9_]*)\s*\(", re.I)
_CAUGHT = re.compile(r"\bWHEN\s+([^;]*?)\s+THEN\b", re.I | re.S)
_CHANNEL = re.compile(r"\bpg_notify\s*\(\s*'(\w+)'|\bNOTIFY\s+(\w+)|\bpg_notify\s*\(\s*TG_ARGV\[(\d)\]", re.I)


@dataclass(frozen=True)
class Argument:
    """An argument of a function, or a column of what it returns."""

    name: str
    type: str
    default: str | None = None


@dataclass(frozen=True)
class Function:
    """A function of ours."""

    name: str
    arguments: tuple[Argument, ...]
    columns: tuple[Argument, ...]
    """Of the rows that it returns; empty where it returns one value."""
    result: str
    is_set: bool
    language: str
    owner: str | None
    """Whose rights it runs with; None for its caller's."""
    roles: tuple[str, ...]
    """Of ROLES, who may execute it."""
    is_called: bool
    """False for a trigger's."""
    source: str = field(repr=False)
    comment: str = field(repr=False)

    @property
    def signature(self) -> str:
        """Its name and the types that tell it from others of the name."""
        return f"{self.name}({', '.join(each.type for each in self.arguments)})"

    @cached_property
    def said(self) -> dict[str, str]:
        """The parts of its COMMENT: '' the paragraph, and what stands after Audits, Errors and Example."""
        first, *rest = _KEYED.split(self.comment)
        return {"": first.strip()} | {key: text.strip() for key, text in zip(rest[::2], rest[1::2], strict=True)}

    @cached_property
    def errors(self) -> dict[str, str]:
        """The SQLSTATEs that its COMMENT names, each with its reason."""
        _, *rest = _CODE.split(" ".join(self.said.get("Errors", "").rstrip(".").split()))
        return dict(zip(rest[::2], rest[1::2], strict=True))

    @cached_property
    def audits(self) -> tuple[str, ...]:
        """The actions that its COMMENT says it audits."""
        return tuple(_ACTION.findall(self.said.get("Audits", "")))

    @cached_property
    def raises(self) -> frozenset[str]:
        """The SQLSTATEs that its own source raises."""
        found = {code("".join(names)) for names in _RAISED.findall(self.code_alone)}
        bare = len(re.findall(r"\bRAISE\s+(?:EXCEPTION\b|SQLSTATE\b)", self.code_alone, re.I))
        told = len(re.findall(r"\bERRCODE\s*=|\bRAISE\s+SQLSTATE\b", self.code_alone, re.I))
        # What names no SQLSTATE is raised as PL/pgSQL's own.
        return frozenset(found | ({"P0001"} if bare > told else set()))

    @cached_property
    def catches(self) -> frozenset[str]:
        """The SQLSTATEs that its source handles; 'OTHERS' for all."""
        found: set[str] = set()
        for names in _CAUGHT.findall("".join(self.code_alone.partition("EXCEPTION\n")[1:])):
            for name in re.split(r"\s+OR\s+", names, flags=re.I):
                if match := re.fullmatch(r"SQLSTATE\s+'(\w{5})'", name.strip(), re.I):
                    found.add(match[1])
                elif re.fullmatch(r"[a-z_]+", name.strip(), re.I):
                    found.add("OTHERS" if name.strip().upper() == "OTHERS" else code(name.strip()))
        return frozenset(found)

    @cached_property
    def code_alone(self) -> str:
        """Its source without remarks."""
        return re.sub(r"--.*", "", self.source)


def code(name: str) -> str:
    """Return the SQLSTATE that a condition's name stands for, as PL/pgSQL has it; a SQLSTATE is itself."""
    if re.fullmatch(r"[0-9A-Z]{5}", name):
        return name
    found = getattr(psycopg.errors, "".join(map(str.capitalize, name.split("_"))), None)
    return str(getattr(found, "sqlstate", name))


@dataclass(frozen=True)
class Column:
    """A column of a table or view."""

    name: str
    type: str
    nullable: bool
    default: str | None
    comment: str
    commands: dict[str, tuple[str, ...]]
    """By role, what it may do with the column."""


@dataclass(frozen=True)
class Constraint:
    """A key or CHECK; `kind` is the catalog's letter."""

    name: str
    kind: str
    columns: tuple[str, ...]
    target: str
    definition: str

    @property
    def values(self) -> tuple[str, ...]:
        """The values of a CHECK that lists them."""
        listed = re.search(r"= ANY \(+ARRAY\[(.*)\]", self.definition)
        return tuple(re.findall(r"'([^']*)'", listed[1])) if listed and self.kind == "c" else ()


@dataclass(frozen=True)
class Relation:
    """A table or view."""

    name: str
    is_view: bool
    owner: str | None
    """Whose rights a view reads with; None for its reader's."""
    comment: str
    columns: tuple[Column, ...]
    constraints: tuple[Constraint, ...]
    deleters: tuple[str, ...]

    def commands(self, role: str) -> dict[str, tuple[str, ...]]:
        """Return what a role may do, each with the columns; () stands for the whole row."""
        held: dict[str, tuple[str, ...]] = {}
        for command in ("SELECT", "INSERT", "UPDATE"):
            names = tuple(each.name for each in self.columns if command in each.commands[role])
            if names:
                held[command] = () if len(names) == len(self.columns) else names
        return held | ({"DELETE": ()} if role in self.deleters else {})


@dataclass(frozen=True)
class Trigger:
    """A trigger of ours."""

    name: str
    table: str
    function: Function
    arguments: tuple[str, ...]
    comment: str


@dataclass
class Channel:
    """A channel of NOTIFY."""

    name: str
    tables: list[str] = field(default_factory=list)
    occasions: list[str] = field(default_factory=list)
    """What the COMMENTs of its triggers say."""
    payloads: list[str] = field(default_factory=list)
    """What the COMMENTs of the functions that send on it say."""


@dataclass(frozen=True)
class Api:
    """All of it."""

    version: str
    functions: tuple[Function, ...]
    """Every one of ours, called by services or not."""
    relations: tuple[Relation, ...]
    triggers: tuple[Trigger, ...]

    def functions_of(self, role: str) -> list[Function]:
        """Return what a role may execute."""
        return [each for each in self.functions if role in each.roles and each.is_called]

    def relations_of(self, role: str) -> list[Relation]:
        """Return what a role may do anything with."""
        return [each for each in self.relations if each.commands(role)]

    def connected(self) -> list[Relation]:
        """Return the tables that keys connect: what tenants' rows are in."""
        keys = [(each.name, key.target) for each in self.relations for key in each.constraints if key.kind == "f"]
        names = {name for pair in keys for name in pair}
        return [each for each in self.relations if each.name in names]

    def channels(self) -> list[Channel]:
        """Return the channels that our functions send on: named in the source, or the argument of a trigger."""
        found: dict[str, Channel] = {}
        for function in self.functions:
            triggers = [each for each in self.triggers if each.function is function]
            for literal, word, place in _CHANNEL.findall(function.code_alone):
                for trigger in triggers or [None]:
                    name = literal or word or (trigger.arguments[int(place)] if trigger else f"argument {place}")
                    channel = found.setdefault(name, Channel(name))
                    _add(channel.payloads, function.said[""])
                    if trigger:
                        _add(channel.tables, trigger.table)
                        _add(channel.occasions, trigger.comment)
        return [found[name] for name in sorted(found)]

    def calls(self, function: Function) -> list[Function]:
        """Return our functions that a function's source names as called, without itself."""
        names = set(_CALLED.findall(_LITERAL.sub("''", function.code_alone))) - {function.name}
        return [each for each in self.functions if each.name in names]


def read(connection: psycopg.Connection[Any]) -> Api:
    """Read it; as anybody who may connect."""
    with connection.transaction(force_rollback=True), connection.cursor(row_factory=dict_row) as cursor:
        cursor.execute("SELECT set_config('search_path', 'public', true)")
        queries = split(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))
        rows = {name: cursor.execute(_ours(text), {"roles": list(ROLES)}).fetchall() for name, text in queries.items()}
        cursor.execute("SELECT public.api_version() AS version")
        (version,) = cursor.fetchall()
    names = {row["oid"]: row["name"] for row in rows["relations"]}
    functions = {row["oid"]: _function(row) for row in rows["functions"]}
    return Api(
        version["version"],
        tuple(functions.values()),
        tuple(_relation(row, rows["columns"], rows["constraints"]) for row in rows["relations"]),
        tuple(
            Trigger(
                each["name"],
                names[each["relation"]],
                functions[each["function"]],
                tuple(each["arguments"]),
                each["comment"],
            )
            for each in rows["triggers"]
            if each["function"] in functions and each["relation"] in names
        ),
    )


def _add(texts: list[str], text: str) -> None:
    if text and text not in texts:
        texts.append(text)


def short(text: str) -> str:
    """Return a type or default as people write it."""
    for long, brief in _SHORT:
        text = text.replace(long, brief)
    return re.sub(r"^(NULL|'.*')::[\w ()]+$", r"\1", text)


def _ours(text: str) -> LiteralString:
    return text  # type: ignore[return-value] # a file of ours, not a user's


def _function(row: dict[str, Any]) -> Function:
    arguments = [(each["mode"], Argument(each["name"], each["type"], each["default"])) for each in row["arguments"]]
    columns = [each for mode, each in arguments if mode in "tob"]
    columns += [Argument(each["name"], each["type"]) for each in row["row_columns"]]
    return Function(
        name=row["name"],
        arguments=tuple(each for mode, each in arguments if mode in "ibv"),
        columns=tuple(columns),
        result=row["result"],
        is_set=row["is_set"],
        language=row["language"],
        owner=row["owner"] if row["definer"] else None,
        roles=tuple(row["roles"]),
        is_called=row["is_called"],
        source=row["source"],
        comment=row["comment"],
    )


def _relation(row: dict[str, Any], columns: list[dict[str, Any]], constraints: list[dict[str, Any]]) -> Relation:
    return Relation(
        name=row["name"],
        is_view=row["is_view"],
        owner=row["owner"] if row["is_view"] and not row["as_caller"] else None,
        comment=row["comment"],
        columns=tuple(
            Column(
                name=each["name"],
                type=each["type"],
                nullable=each["nullable"],
                default=each["default"],
                comment=each["comment"],
                commands={role: tuple(commands) for role, commands in each["commands"].items()},
            )
            for each in columns
            if each["relation"] == row["oid"]
        ),
        constraints=tuple(
            Constraint(each["name"], each["kind"], tuple(each["columns"]), each["target"], each["definition"])
            for each in constraints
            if each["relation"] == row["oid"]
        ),
        deleters=tuple(row["deleters"]),
    )
