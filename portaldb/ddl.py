"""What SQL makes a thing of the catalog, takes it away, and whether two spellings of it mean the same."""

import json
import re
from collections.abc import Callable
from typing import Any

from portaldb.catalog import Thing

_NOTE = re.compile(r" /\* .*? \*/$")
_PLACES = frozenset({"location", "stmt_location", "stmt_len"})
_TEXT = (["text"], ["pg_catalog", "text"], ["pg_catalog", "varchar"])


def table_of(thing: Thing) -> str:
    """Return the name, for SQL, of the relation, function or other object that a thing hangs on."""
    return bare(thing.on)


def bare(key: str) -> str:
    """Return the name that follows the kind in a key: `public.users` of `table public.users`."""
    for kind in ("materialized view", "foreign table"):
        if key.startswith(f"{kind} "):
            return key.removeprefix(f"{kind} ")
    return key.partition(" ")[2]


_CREATE: dict[str, Callable[[Thing, str], str]] = {
    "column": lambda thing, definition: f"ALTER TABLE {table_of(thing)} ADD COLUMN {thing.sql} {definition}",
    "constraint": lambda thing, definition: f"ALTER TABLE {table_of(thing)} ADD CONSTRAINT {thing.sql} {definition}",
    "index": lambda _, definition: definition.replace(" ON ONLY ", " ON ", 1),
    "trigger": lambda _, definition: definition,
    "rule": lambda _, definition: definition,
    "statistics": lambda _, definition: definition,
    "policy": lambda thing, definition: f"CREATE POLICY {thing.sql} ON {table_of(thing)} {definition}",
    "function": lambda _, definition: definition,
    "procedure": lambda _, definition: definition,
    "view": lambda thing, definition: f"CREATE OR REPLACE VIEW {thing.name} {definition}",
    "materialized view": lambda thing, definition: f"CREATE MATERIALIZED VIEW {thing.name} {definition}",
    "type": lambda thing, definition: f"CREATE TYPE {thing.name} {definition}",
    "domain": lambda thing, definition: f"CREATE DOMAIN {thing.name} {definition}",
    "sequence": lambda thing, definition: f"CREATE SEQUENCE {thing.name} {definition}",
    "schema": lambda thing, _: f"CREATE SCHEMA {thing.name}",
}


def create(thing: Thing) -> str | None:
    """Return the statement that makes a thing, without its semicolon; None for a kind that has none of its own."""
    maker = _CREATE.get(thing.kind)
    return maker(thing, _NOTE.sub("", thing.definition)) if maker else None


def same(one: Thing, other: Thing) -> bool:
    """Say whether two definitions mean the same; in doubt they do not.

    A dump and restore respells a list over varchar: `(ARRAY['a'::varchar])::text[]` comes back as
    `ARRAY[('a'::varchar)::text]`. Both are folded to the same tree; nothing is folded that could mean another thing.
    """
    if one.definition == other.definition:
        return True
    if _notes(one) != _notes(other):
        return False
    mine, theirs = _canonical(one), _canonical(other)
    return mine is not None and mine == theirs


def _notes(thing: Thing) -> list[str]:
    return _NOTE.findall(thing.definition)


def _canonical(thing: Thing) -> str | None:
    import pgparse

    statement = create(thing)
    if statement is None:
        return None
    try:
        return json.dumps(fold(pgparse.parse(statement)), sort_keys=True)
    except pgparse.PGQueryError:
        return None


def fold(node: Any) -> Any:  # noqa: ANN401 - libpg_query's tree is JSON
    """Return a parse tree without places and without casts that mean nothing."""
    if isinstance(node, list):
        return [fold(each) for each in node]
    if not isinstance(node, dict):
        return node
    folded = {key: fold(value) for key, value in node.items() if key not in _PLACES}
    cast = folded.get("TypeCast")
    return _without_cast(cast) if cast and len(folded) == 1 else folded


def _without_cast(cast: dict[str, Any]) -> dict[str, Any]:
    """Drop a cast to text or varchar without a length from a string constant, and from a list of them."""
    argument, target = cast["arg"], cast["typeName"]
    names = [each["String"]["sval"] for each in target.get("names", ())]
    if names in _TEXT and not target.get("typmods"):
        if not target.get("arrayBounds") and _is_string(argument):
            return dict(argument)
        elements = argument.get("A_ArrayExpr", {}).get("elements", ())
        if target.get("arrayBounds") and elements and all(_is_string(each) for each in elements):
            return dict(argument)
    return {"TypeCast": cast}


def _is_string(node: dict[str, Any]) -> bool:
    return "sval" in node.get("A_Const", {})
