"""What callers rely on, as docs/api-contract.json has it, and which changes of it break them.

Adding is a minor change, removing or changing a breaking one. The version is what api_version() returns; CHANGELOG.md
names it on a line with 'API 1.0.0'. While that line stands under [Unreleased], what is added needs no new version.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.api_catalog import ROLES, Api, Function

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "docs/api-contract.json"
CHANGELOG = ROOT / "CHANGELOG.md"

Contract = dict[str, Any]
_LINE = 120


@dataclass(frozen=True, order=True)
class Change:
    """A difference that callers may notice."""

    breaks: bool
    what: str


def contract(api: Api) -> Contract:
    """Return what callers rely on."""
    called = [each for each in api.functions if each.roles and each.is_called]
    relations = [each for each in api.relations if any(each.commands(role) for role in ROLES)]
    return {
        "api_version": api.version,
        "functions": {each.signature: _function(each) for each in called},
        "relations": {
            each.name: {
                "kind": "view" if each.is_view else "table",
                "columns": {
                    column.name: {
                        "type": column.type,
                        "nullable": column.nullable,
                        "default": column.default is not None,
                        **{role: list(held) for role, held in column.commands.items() if held},
                    }
                    for column in each.columns
                },
                "delete": list(each.deleters),
            }
            for each in relations
        },
        "values": {
            f"{each.name}.{key.name}": list(key.values)
            for each in api.connected()
            for key in each.constraints
            if key.values
        },
        "keys": {
            f"{each.name}.{key.name}": f"{key.kind} {', '.join(key.columns)} {key.target}".rstrip()
            for each in relations
            for key in each.constraints
            if key.kind in "puf"
        },
        "channels": [each.name for each in api.channels()],
        "sqlstates": sorted({code for each in called for code in each.errors}),
    }


def _function(function: Function) -> Contract:
    return {
        "arguments": [{"name": each.name, "type": each.type, "default": each.default} for each in function.arguments],
        "result": "setof " * function.is_set + function.result,
        "columns": [{"name": each.name, "type": each.type} for each in function.columns],
        "roles": list(function.roles),
        "sqlstates": sorted(function.errors),
        "audits": list(function.audits),
    }


def compare(old: Contract, new: Contract) -> list[Change]:
    """Return what changed between two contracts, what breaks callers first."""
    found = [
        *_functions(old["functions"], new["functions"]),
        *_relations(old["relations"], new["relations"]),
        *_mapped("value", old["values"], new["values"]),
        *_keys(old["keys"], new["keys"]),
        *_listed("channel", old["channels"], new["channels"]),
        *_listed("SQLSTATE", old["sqlstates"], new["sqlstates"]),
    ]
    return sorted(found, key=lambda change: (not change.breaks, change.what))


def _listed(what: str, old: list[str], new: list[str]) -> Iterator[Change]:
    for name in old:
        if name not in new:
            yield Change(True, f"{what} {name} is gone")
    for name in new:
        if name not in old:
            yield Change(False, f"{what} {name} is new")


def _mapped(what: str, old: Mapping[str, list[str]], new: Mapping[str, list[str]]) -> Iterator[Change]:
    for name in sorted({*old, *new}):
        yield from _listed(f"{name}: {what}", old.get(name, []), new.get(name, []))


def _keys(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[Change]:
    for name in sorted({*old, *new}):
        if name not in new:
            yield Change(True, f"key {name} is gone")
        elif name not in old:
            # Refuses what was taken before, if it is unique or names another table.
            yield Change(False, f"key {name} is new")
        elif old[name] != new[name]:
            yield Change(True, f"key {name} was '{old[name]}', is '{new[name]}'")


def _functions(old: Mapping[str, Contract], new: Mapping[str, Contract]) -> Iterator[Change]:
    followed: set[str] = set()
    for signature, was in old.items():
        follower = signature if signature in new else _follower(signature, was, new)
        if follower is None:
            yield Change(True, f"function {signature} is gone")
            continue
        followed.add(follower)
        now = new[follower]
        for place, each in enumerate(was["arguments"]):
            yield from _argument(f"function {signature}, argument {place + 1}", each, now["arguments"][place])
        for each in now["arguments"][len(was["arguments"]) :]:
            yield Change(False, f"function {signature} takes {each['name']} too")
        if was["result"] != now["result"] and not (was["columns"] and now["columns"]):
            yield Change(True, f"function {signature} returned {was['result']}, returns {now['result']}")
        yield from _columns(signature, was, now)
        yield from _listed(f"function {signature}: SQLSTATE", was["sqlstates"], now["sqlstates"])
        yield from _listed(f"function {signature}: audited action", was["audits"], now["audits"])
        yield from _listed(f"function {signature}: role", was["roles"], now["roles"])
    for signature in new:
        if signature not in followed and signature not in old:
            yield Change(False, f"function {signature} is new")


def _follower(signature: str, was: Contract, new: Mapping[str, Contract]) -> str | None:
    """Return a function that takes the same call: more arguments, and a default for each of them."""
    name, count = signature.partition("(")[0], len(was["arguments"])
    types = [each["type"] for each in was["arguments"]]
    for other, now in new.items():
        more = now["arguments"][count:]
        same = other.partition("(")[0] == name and [each["type"] for each in now["arguments"][:count]] == types
        if same and more and all(each["default"] is not None for each in more):
            return other
    return None


def _argument(what: str, was: Contract, now: Contract) -> Iterator[Change]:
    for part in ("name", "default"):
        if was[part] != now[part]:
            # Who calls without it may go on, and nobody called without it before.
            breaks = part == "name" or was["default"] is not None
            yield Change(breaks, f"{what}: its {part} was {was[part]}, is {now[part]}")


def _columns(signature: str, was: Contract, now: Contract) -> Iterator[Change]:
    if not (was["columns"] and now["columns"]):
        return
    if was["result"].startswith("setof ") != now["result"].startswith("setof "):
        yield Change(True, f"function {signature} returned {was['result']}, returns {now['result']}")
    old, new = was["columns"], now["columns"]
    for place, each in enumerate(old):
        if place >= len(new):
            yield Change(True, f"function {signature}: column {each['name']} is gone")
        elif each != new[place]:
            told = f"was {each['name']} {each['type']}, is {new[place]['name']} {new[place]['type']}"
            yield Change(True, f"function {signature}: column {place + 1} {told}")
    for each in new[len(old) :]:
        yield Change(False, f"function {signature}: column {each['name']} is new")


def _relations(old: Mapping[str, Contract], new: Mapping[str, Contract]) -> Iterator[Change]:
    for name, was in old.items():
        if name not in new:
            yield Change(True, f"{was['kind']} {name} is gone")
            continue
        now = new[name]
        yield from _listed(f"{was['kind']} {name}: DELETE by", was["delete"], now["delete"])
        for column, before in was["columns"].items():
            if column not in now["columns"]:
                yield Change(True, f"column {name}.{column} is gone")
            else:
                yield from _column(f"column {name}.{column}", before, now["columns"][column])
        for column, after in now["columns"].items():
            if column not in was["columns"]:
                # An INSERT that does not know the column is refused.
                needed = now["kind"] == "table" and not after["nullable"] and not after["default"]
                yield Change(needed, f"column {name}.{column} is new" + " and has to be given" * needed)
    for name, now in new.items():
        if name not in old:
            yield Change(False, f"{now['kind']} {name} is new")


def _column(what: str, was: Contract, now: Contract) -> Iterator[Change]:
    if was["type"] != now["type"]:
        yield Change(True, f"{what} was {was['type']}, is {now['type']}")
    if was["nullable"] != now["nullable"]:
        yield Change(True, f"{what} {'may be' if now['nullable'] else 'can no longer be'} NULL")
    if was["default"] != now["default"]:
        yield Change(was["default"], f"{what} has {'a' if now['default'] else 'no'} default")
    for role in ROLES:
        yield from _listed(f"{what}: {role} has", was.get(role, []), now.get(role, []))


# The version ---------------------------------------------------------------------------------------------


def judge(old: Contract, new: Contract, changelog: str) -> list[str]:
    """Return why the new contract may not take the place of the old; nothing where it may."""
    changes = compare(old, new)
    was, now = (_numbers(each["api_version"]) for each in (old, new))
    said = f"api_version() is {new['api_version']}, and was {old['api_version']}"
    refusals = []
    if now < was:
        refusals.append(f"{said}: it goes up alone.")
    breaking = [change for change in changes if change.breaks]
    if breaking and now[0] <= was[0]:
        refusals += [f"{change.what}: that breaks callers." for change in breaking]
        refusals.append(
            f"{said}: put it back, or raise the major version in api_version() and say in CHANGELOG.md what callers do "
            f"(a line with 'API {was[0] + 1}.0.0')."
        )
    elif changes and not breaking and now[:2] <= was[:2] and not _unreleased(old["api_version"], changelog):
        refusals += [f"{change.what}." for change in changes]
        refusals.append(f"{said}: that was released, so raise the minor version in api_version().")
    if now != was and f"API {new['api_version']}" not in changelog:
        refusals.append(f"{said}: CHANGELOG.md has no line with 'API {new['api_version']}'.")
    return refusals


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _unreleased(version: str, changelog: str) -> bool:
    section = re.search(r"^## \[Unreleased\]$(.*?)(?=^## |\Z)", changelog, re.M | re.S)
    return section is not None and f"API {version}" in section[1]


def written() -> Contract | None:
    """Return the contract of the file; None where there is none."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else None


def write(api: Api) -> list[str]:
    """Write the file, or return why not."""
    old, new = written(), contract(api)
    refusals = judge(old, new, CHANGELOG.read_text(encoding="utf-8")) if old else []
    if not refusals:
        FILE.write_text(text(new), encoding="utf-8")
    return refusals


def text(contract: Contract) -> str:
    """Return the file of a contract: a list of words, or a small object, is a line."""

    def together(found: re.Match[str]) -> str:
        line = re.sub(r"\s*\n\s*", " ", found[0])
        return line.replace("[ ", "[").replace(" ]", "]") if len(line) < _LINE or line[0] == "[" else found[0]

    spread = json.dumps(contract, indent=2, ensure_ascii=False)
    for pattern in (r"\[[^\[\]{}]*\]", r"\{[^{}]*\}"):
        spread = re.sub(pattern, together, spread)
    return spread + "\n"
