"""Walking libpg_query's parse trees, which are JSON: every node is a dictionary with its name as the only key.

Where the type of a field leaves no choice, libpg_query writes the structure without its name; `nodes` gives those ''.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

Tree = dict[str, Any]

_PLAIN_NAME = re.compile(r"[a-z_][a-z0-9_$]*")


def nodes(tree: object) -> Iterator[tuple[str, Tree]]:
    """Yield every node of a tree, outermost first, with its name."""
    if isinstance(tree, list):
        for each in tree:
            yield from nodes(each)
    elif isinstance(tree, dict):
        if len(tree) == 1 and (tag := next(iter(tree)))[:1].isupper() and isinstance(tree[tag], dict):
            yield tag, tree[tag]
            inner = tree[tag]
        else:
            yield "", tree
            inner = tree
        for value in inner.values():
            yield from nodes(value)


def strings(tree: object) -> list[str]:
    """Return a name's parts: `public.users` is ['public', 'users']; of a function, the name alone."""
    if isinstance(tree, dict) and "ObjectWithArgs" in tree:
        tree = tree["ObjectWithArgs"]["objname"]
    return [node["sval"] for tag, node in nodes(tree) if tag == "String" and "sval" in node]


def quoted(names: Sequence[str]) -> str:
    """Join a name's parts, quoted where PostgreSQL would fold them or not read them."""
    return ".".join(name if _PLAIN_NAME.fullmatch(name) else '"' + name.replace('"', '""') + '"' for name in names)


def relation_name(relation: Tree) -> str:
    """Return a RangeVar's name, as to_regclass() takes it."""
    return quoted([relation[key] for key in ("schemaname", "relname") if key in relation])
