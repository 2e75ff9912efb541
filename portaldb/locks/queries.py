"""Queries: the tables they name, and the functions that may do anything."""

from collections.abc import Iterator
from dataclasses import replace

from portaldb.locks.dispatch import HANDLERS, Handler, handles, read
from portaldb.locks.effect import ACCESS_SHARE, NO_LOCK, ROW_EXCLUSIVE, ROW_SHARE, Effect, created, takes, unknown
from portaldb.locks.names import is_harmless
from portaldb.tree import Tree, nodes, quoted, relation_name, strings

_WRITES = {"InsertStmt": "inserted", "UpdateStmt": "updated", "DeleteStmt": "deleted", "MergeStmt": "merged"}


def _statement(kind: str) -> Handler:
    def handler(node: Tree) -> Iterator[Effect]:
        yield from list(query({kind: node})) or [takes("", NO_LOCK, "it reads no table")]

    return handler


HANDLERS.update({kind: _statement(kind) for kind in ("SelectStmt", *_WRITES)})


def query(tree: object, *, calls: bool = True) -> Iterator[Effect]:
    """Yield what a query, or an expression, does to the tables it names.

    With `calls` it runs now, and a function that may do anything is told; without, it is kept to run later.
    """
    names = {node["ctename"] for tag, node in nodes(tree) if tag == "CommonTableExpr"}
    for effect in _visit(tree, names, calls=calls):
        yield effect if calls else replace(effect, why="a definition that is kept names it", scans=False)


def _visit(tree: object, with_names: set[str], *, calls: bool) -> Iterator[Effect]:
    if isinstance(tree, list):
        for each in tree:
            yield from _visit(each, with_names, calls=calls)
    if not isinstance(tree, dict):
        return
    if "lockingClause" in tree:
        yield from _locking(tree, with_names)
    for key, value in tree.items():
        if key == "RangeVar":
            if not _is_with_name(value, with_names):
                yield takes(relation_name(value), ACCESS_SHARE, "it is read")
        elif key in _WRITES:
            yield _written(key, value)
            rest = {name: part for name, part in value.items() if name != "relation"}
            yield from _visit(rest, with_names, calls=calls)
        elif key == "ExecuteStmt":
            yield unknown(f"the prepared statement {value['name']} runs")
        elif key == "intoClause":
            yield created(relation_name(value["rel"]), "a new table")
        elif key == "FuncCall" and calls and not is_harmless(value):
            yield unknown(f"{quoted(strings(value['funcname']))}() runs, and what it does is not in this statement")
            yield from _visit(value.get("args", []), with_names, calls=calls)
        elif key != "lockingClause":
            yield from _visit(value, with_names, calls=calls)


def _is_with_name(relation: Tree, with_names: set[str]) -> bool:
    return "schemaname" not in relation and relation["relname"] in with_names


def _written(kind: str, node: Tree) -> Effect:
    every = kind in ("UpdateStmt", "DeleteStmt") and "whereClause" not in node
    why = f"every row is {_WRITES[kind]}: there is no WHERE" if every else f"rows are {_WRITES[kind]}"
    return takes(relation_name(node["relation"]), ROW_EXCLUSIVE, why, scans=every)


def _locking(select: Tree, with_names: set[str]) -> Iterator[Effect]:
    """Yield the locks of FOR UPDATE and its like, on the tables it names or on all of the FROM clause."""
    tables = [node for tag, node in nodes(select.get("fromClause", [])) if tag == "RangeVar"]
    for each in select["lockingClause"]:
        chosen = {rel["RangeVar"]["relname"] for rel in each["LockingClause"].get("lockedRels", [])}
        for table in tables:
            known_as = table.get("alias", {}).get("aliasname", table["relname"])
            if not _is_with_name(table, with_names) and (not chosen or known_as in chosen):
                yield takes(relation_name(table), ROW_SHARE, "rows are locked as they are read")


@handles("CopyStmt")
def _copy(node: Tree) -> Iterator[Effect]:
    if "relation" not in node:
        yield from query(node["query"])
    elif node.get("is_from"):
        yield takes(relation_name(node["relation"]), ROW_EXCLUSIVE, "rows are inserted")
    else:
        yield takes(relation_name(node["relation"]), ACCESS_SHARE, "it is read")


@handles("ExplainStmt", "DeclareCursorStmt", "PrepareStmt")
def _wrapped(node: Tree) -> Iterator[Effect]:
    yield from read(node["query"])
