"""What portaldb/access.toml means for a reader and for pgTAP: docs/access.md, and the lists in tests/sql/grants.sql.

scripts/reference.py writes both.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator

from portaldb.verify.access import COMMANDS, STRONG, Access, Relation, Row

INTRODUCTION = """\
# Who may reach what

Made from [`portaldb/access.toml`](../portaldb/access.toml) (`python scripts/reference.py`): change that file.
`portaldb verify` tries every line of it, and [verify.md](verify.md) tells how.

A cell says which rows: every row, no row (the statement runs and reaches nothing), or those that are explained below
the table. An empty cell, and whoever is not named: the server refuses the statement. The owner reaches every row by
every command where nothing else is said, and is left out of the tables.
"""

_PLAIN = tuple(command for command in COMMANDS if command not in STRONG)
_HEADINGS = ("who", *map(str.upper, _PLAIN), "other")
_WIDTH = 100


def page(access: Access) -> str:
    """Return docs/access.md."""
    return "\n".join(
        [INTRODUCTION, *_actors(access), *_roles(access), "## Relations\n", *_relations(access), *_functions(access)]
    )


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [list(headings), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


def _actors(access: Access) -> Iterator[str]:
    yield "## Actors\n"
    rows = ((actor.title, f"`{actor.role}`", actor.tenant or "nobody") for actor in access.actors)
    yield _table(("who", "acts as", "in the name of"), rows)


def _roles(access: Access) -> Iterator[str]:
    yield "## Roles\n"
    yield "None is a superuser, makes roles or databases, or replicates.\n"
    yield _table(
        ("role", "goes past Row-Level Security", "is a member of"),
        (
            (f"`{role.name}`", "yes" if role.bypassrls else "no", ", ".join(f"`{name}`" for name in role.member_of))
            for role in access.roles.values()
        ),
    )


def _relations(access: Access) -> Iterator[str]:
    for relation in access.relations.values():
        yield f"### {relation.name}\n"
        if about := _about(access, relation):
            yield f"{about}\n"
        rows = list(_rights(access, relation))
        used = [place for place in range(len(_HEADINGS)) if place <= len(_PLAIN) or any(row[place] for row in rows)]
        if rows:
            yield _table((_HEADINGS[place] for place in used), ((row[place] for place in used) for row in rows))
        else:
            yield "Nobody but the owner.\n"
        legend = [f"- *{name}*: {_scope(rows)}" for name, rows in relation.scopes.items()]
        legend += [
            f"- `{role}` has {command.upper()} on these columns alone: {', '.join(f'`{name}`' for name in names)}"
            for role, commands in relation.columns.items()
            for command, names in commands.items()
        ]
        if legend:
            yield "\n".join(legend) + "\n"


def _about(access: Access, relation: Relation) -> str:
    said = []
    if relation.forced:
        said.append("Row-Level Security holds its owner too.")
    if relation.rows_of:
        said.append(f"Shows what its reader may see of {relation.rows_of}.")
    if relation.owner_rights:
        said.append("A view with its owner's rights.")
    if relation.name in access.partitions:
        said.append("Nobody but the owner and backups reaches a partition directly.")
    if not relation.ours:
        said.append("An extension's.")
    if relation.optional:
        said.append("May be absent.")
    return " ".join(said)


def _rights(access: Access, relation: Relation) -> Iterator[tuple[str, ...]]:
    """Yield a row for each group of actors who have the same rights."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for actor in access.actors:
        if all(relation.right(command, actor) == "all" for command in COMMANDS):
            continue
        plain = [_right(relation.right(command, actor)) for command in _PLAIN]
        other = [command.upper() for command in STRONG if relation.right(command, actor) != "refused"]
        groups.setdefault((*plain, ", ".join(other)), []).append(actor.title)
    for cells, titles in groups.items():
        if any(cells):
            yield ("; ".join(titles), *cells)


def _right(right: str) -> str:
    return {"refused": "", "none": "no row", "all": "every row"}.get(right, f"*{right}*")


def _scope(alternatives: list[Row]) -> str:
    return ", or ".join(" and ".join(_equation(*pair) for pair in row.items()) for row in alternatives)


def _equation(column: str, value: object) -> str:
    words = {"@{me}": "the actor", "@{teams}": "a team of the actor's"}
    if isinstance(value, list):
        return f"`{column}` is one of {', '.join(map(str, value))}"
    text = words.get(str(value), str(value).replace("@", "").replace("-of-{me}", " of the actor"))
    return f"`{column}` is {text}"


def _functions(access: Access) -> Iterator[str]:
    yield "## Functions\n"
    yield "The owner may execute all of them.\n"
    yield _table(
        ("function", "executed by", "runs as"),
        (
            (f"`{name}`", ", ".join(f"`{role}`" for role in roles), f"`{access.definers[name]}`"
                if name in access.definers else "its caller")
            for name, roles in access.functions.items()
        ),
    )  # fmt: skip


# tests/sql/grants.sql --------------------------------------------------------------------------------------

_BEGIN, _END = "    -- from access.toml, {}: begin\n", "    -- from access.toml, {}: end\n"


def grants(access: Access, text: str) -> str:
    """Return tests/sql/grants.sql with the lists between its marks made anew."""
    whole, columns = list(_privileges(access)), list(_column_privileges(access))
    for name, rows in (("relations", whole), ("columns", columns)):
        begin, end = _BEGIN.format(name), _END.format(name)
        values = "    VALUES\n" + ",\n".join(map(_values, rows)) + "\n"
        text = re.sub(
            f"{re.escape(begin)}.*{re.escape(end)}", lambda _, v=values, b=begin, e=end: b + v + e, text, flags=re.S
        )
    return text


def _granted(access: Access) -> Iterator[tuple[str, Relation, list[str]]]:
    """Yield what each role is granted on each relation of ours: the owner has all, backups read by membership."""
    owner = next(actor.role for actor in access.actors if actor.name == "owner")
    for role in access.roles.values():
        actor = next((actor for actor in access.actors if actor.role == role.name), None)
        if actor is None or role.name == owner or "pg_read_all_data" in role.member_of:
            continue
        for relation in access.relations.values():
            # The record of migrations is not of their making.
            if relation.ours and not re.match(rf"{access.schema}\.(_|yoyo_)", relation.name):
                held = [command for command in COMMANDS if relation.right(command, actor) != "refused"]
                if held:
                    yield role.name, relation, held


def _privileges(access: Access) -> Iterator[tuple[str, ...]]:
    for role, relation, held in _granted(access):
        whole = sorted(command.upper() for command in held if command not in relation.columns.get(role, {}))
        if whole:
            yield role, relation.name.partition(".")[2], " ".join(whole)


def _column_privileges(access: Access) -> Iterator[tuple[str, ...]]:
    for role, relation, held in _granted(access):
        for command in held:
            if columns := relation.columns.get(role, {}).get(command):
                yield role, relation.name.partition(".")[2], command.upper(), " ".join(sorted(columns))


def _values(row: tuple[str, ...]) -> str:
    one = f"    ({', '.join(map(_literal, row))})"
    if len(one) <= _WIDTH:
        return one
    lines = textwrap.wrap(row[-1], _WIDTH - 12, drop_whitespace=False)
    return (
        f"    (\n        {', '.join(map(_literal, row[:-1]))},\n        "
        + "\n        ".join(map(_literal, lines))
        + "\n    )"
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
