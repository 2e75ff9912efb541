"""CREATE, DROP, RENAME and the like, for tables and what else has a name of its own."""

from collections.abc import Iterator

from portaldb.locks.dispatch import handles, read
from portaldb.locks.effect import (
    ACCESS_EXCLUSIVE,
    ACCESS_SHARE,
    LOCK_MODES,
    NO_LOCK,
    SHARE,
    SHARE_ROW_EXCLUSIVE,
    SHARE_UPDATE_EXCLUSIVE,
    Effect,
    created,
    default_partition,
    takes,
    unknown,
)
from portaldb.locks.names import PARTS, RELATIONS, object_words
from portaldb.locks.queries import query
from portaldb.tree import Tree, quoted, relation_name, strings


@handles("CreateStmt", "CreateForeignTableStmt")
def _create_table(node: Tree) -> Iterator[Effect]:
    base = node.get("base", node)  # CREATE FOREIGN TABLE wraps CREATE TABLE
    yield created(relation_name(base["relation"]), "a new table")
    parents = [relation_name(each["RangeVar"]) for each in base.get("inhRelations", [])]
    if "partbound" in base:
        for parent in parents:
            yield takes(
                parent,
                ACCESS_EXCLUSIVE,
                "a partition is added by CREATE TABLE … PARTITION OF; CREATE TABLE (LIKE …) and ATTACH lock less",
            )
            if not base["partbound"].get("is_default"):
                yield default_partition(parent)
    else:
        for parent in parents:
            yield takes(parent, SHARE_UPDATE_EXCLUSIVE, "a child table is added")
    for element in base.get("tableElts", []):
        if like := element.get("TableLikeClause"):
            yield takes(relation_name(like["relation"]), ACCESS_SHARE, "its definition is copied")
        yield from _references(element)


def _references(element: Tree) -> Iterator[Effect]:
    """Yield the locks on the tables that a new table's or column's foreign keys reference."""
    constraint = element.get("Constraint", {})
    if constraint.get("contype") == "CONSTR_FOREIGN":
        yield takes(
            relation_name(constraint["pktable"]),
            SHARE_ROW_EXCLUSIVE,
            "a foreign key to it is added, with its triggers",
            rule="adding-foreign-key-constraint",
        )
    for each in element.get("ColumnDef", {}).get("constraints", []):
        yield from _references(each)


@handles("CreateTableAsStmt")
def _create_table_as(node: Tree) -> Iterator[Effect]:
    what = "a new materialized view" if node.get("objtype") == "OBJECT_MATVIEW" else "a new table"
    yield created(relation_name(node["into"]["rel"]), what)
    if node["into"].get("skipData"):
        yield from query(node["query"], calls=False)
    else:
        yield from query(node["query"])


@handles("AlterTableMoveAllStmt")
def _move_all(node: Tree) -> Iterator[Effect]:
    yield takes(
        "", ACCESS_EXCLUSIVE, f"every table or index of the tablespace {node['orig_tablespacename']}", rewrites=True
    )


@handles("RenameStmt")
def _rename(node: Tree) -> Iterator[Effect]:
    kind = node["renameType"]
    if "relation" not in node:
        yield takes("", NO_LOCK, f"the {object_words(kind)} gets a new name; callers know the old one")
        return
    name, words = relation_name(node["relation"]), object_words(kind)
    if kind == "OBJECT_INDEX":
        yield takes(name, SHARE_UPDATE_EXCLUSIVE, "the index gets a new name")
        return
    rules = {"OBJECT_TABLE": "renaming-table", "OBJECT_COLUMN": "renaming-column"}
    part = kind in ("OBJECT_COLUMN", "OBJECT_TABCONSTRAINT", "OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE")
    what = f"its {words} {node.get('subname', '')}" if part else "it"
    yield takes(
        name, ACCESS_EXCLUSIVE, f"{what} gets a new name; clients that know the old one fail", rule=rules.get(kind)
    )


@handles("AlterObjectSchemaStmt")
def _set_schema(node: Tree) -> Iterator[Effect]:
    if "relation" in node:
        yield takes(
            relation_name(node["relation"]),
            ACCESS_EXCLUSIVE,
            f"it moves to the schema {node['newschema']}; clients that know the old one fail",
            rule="ban-set-schema",
        )
    else:
        yield takes("", NO_LOCK, f"the {object_words(node['objectType'])} moves to the schema {node['newschema']}")


@handles("AlterObjectDependsStmt")
def _depends_on_extension(node: Tree) -> Iterator[Effect]:
    if "relation" in node:
        yield takes(relation_name(node["relation"]), ACCESS_EXCLUSIVE, "a part of it becomes an extension's")
    else:
        yield takes("", NO_LOCK, "an object becomes an extension's")


@handles("AlterOwnerStmt")
def _owner(node: Tree) -> Iterator[Effect]:
    yield takes("", NO_LOCK, f"the {object_words(node['objectType'])} gets another owner")


_UNNAMED = frozenset(f"OBJECT_{each}" for each in ("CAST", "TRANSFORM", "OPCLASS", "OPFAMILY"))
"""Objects whose names are those of other things."""


@handles("DropStmt")
def _drop(node: Tree) -> Iterator[Effect]:
    kind = node["removeType"]
    words, cascade = object_words(kind), node.get("behavior") == "DROP_CASCADE"
    for each in node["objects"]:
        names = strings(each)
        if kind in PARTS:  # DROP TRIGGER x ON a.t: the last name is the part's
            yield takes(quoted(names[:-1]), ACCESS_EXCLUSIVE, f"its {words} {names[-1]} is dropped")
        elif kind in RELATIONS:
            yield from _drop_relation(kind, quoted(names), concurrent=bool(node.get("concurrent")))
        elif kind == "OBJECT_EXTENSION":
            yield unknown(f"the extension {names[0]} is dropped with all that its script made")
        elif kind == "OBJECT_SCHEMA":
            lock = ACCESS_EXCLUSIVE if cascade else NO_LOCK
            yield takes(
                "",
                lock,
                f"every relation of the schema {names[0]} is dropped" if cascade else "an empty schema is dropped",
            )
        else:
            which = "" if kind in _UNNAMED else f" {quoted(names)}"
            yield takes("", NO_LOCK, f"the {words}{which} is dropped")
    if cascade and kind != "OBJECT_SCHEMA":
        yield takes("", ACCESS_EXCLUSIVE, "CASCADE: whatever depends on it is dropped or changed too", certain=False)


def _drop_relation(kind: str, name: str, *, concurrent: bool) -> Iterator[Effect]:
    words = object_words(kind)
    if kind == "OBJECT_INDEX":
        lock = SHARE_UPDATE_EXCLUSIVE if concurrent else ACCESS_EXCLUSIVE
        rule = None if concurrent else "require-concurrent-index-deletion"
        yield takes(name, lock, "the index is dropped", rule=rule)
        yield takes("", lock, f"the table of {name}", rule=rule)
        return
    rule = {"OBJECT_TABLE": "ban-drop-table", "OBJECT_VIEW": "ban-drop-view"}.get(kind)
    yield takes(name, ACCESS_EXCLUSIVE, f"the {words} is dropped", rule=rule)
    if kind in ("OBJECT_TABLE", "OBJECT_FOREIGN_TABLE"):
        yield takes("", ACCESS_EXCLUSIVE, f"the tables that foreign keys of {name} reference; its parent, if any")


@handles("DropOwnedStmt")
def _drop_owned(node: Tree) -> Iterator[Effect]:
    yield takes("", ACCESS_EXCLUSIVE, "every object that the role owns is dropped, its grants revoked", certain=False)


@handles("ReassignOwnedStmt")
def _reassign_owned(node: Tree) -> Iterator[Effect]:
    yield takes("", ACCESS_EXCLUSIVE, "every object that the role owns gets another owner", certain=False)


@handles("TruncateStmt")
def _truncate(node: Tree) -> Iterator[Effect]:
    cascade = node.get("behavior") == "DROP_CASCADE"
    rule = "ban-truncate-cascade" if cascade else None
    for each in node["relations"]:
        yield takes(relation_name(each["RangeVar"]), ACCESS_EXCLUSIVE, "every row goes", rewrites=True, rule=rule)
    if cascade:
        yield takes("", ACCESS_EXCLUSIVE, "every table with a foreign key to it loses its rows too", rewrites=True)


@handles("LockStmt")
def _lock(node: Tree) -> Iterator[Effect]:
    for each in node["relations"]:
        yield takes(relation_name(each["RangeVar"]), LOCK_MODES[node["mode"] - 1], "LOCK TABLE says so")


@handles("CreateSeqStmt")
def _create_sequence(node: Tree) -> Iterator[Effect]:
    name = relation_name(node["sequence"])
    yield created(name, "a new sequence")
    yield from _owned_by(name, node)


@handles("AlterSeqStmt")
def _alter_sequence(node: Tree) -> Iterator[Effect]:
    name = relation_name(node["sequence"])
    yield takes(name, SHARE_ROW_EXCLUSIVE, "the sequence changes, and nextval() waits")
    yield from _owned_by(name, node)


def _owned_by(name: str, node: Tree) -> Iterator[Effect]:
    for each in node.get("options", []):
        owner = strings(each["DefElem"].get("arg", {})) if each["DefElem"]["defname"] == "owned_by" else []
        if len(owner) > 1:  # OWNED BY NONE is one word
            yield takes(quoted(owner[:-1]), ACCESS_SHARE, f"{name} becomes its column's")


@handles("AlterDomainStmt")
def _alter_domain(node: Tree) -> Iterator[Effect]:
    domain = quoted(strings(node["typeName"]))
    adds, constraint = node["subtype"] == "C", node.get("def", {}).get("Constraint", {})
    # SET NOT NULL, VALIDATE CONSTRAINT, ADD CONSTRAINT
    if node["subtype"] in ("O", "V") or (adds and not constraint.get("skip_validation")):
        rule = "ban-alter-domain-with-add-constraint" if adds else None
        yield takes("", SHARE, f"every table with a column of {domain} is read", scans=True, rule=rule)
    else:
        yield takes("", NO_LOCK, f"the domain {domain} changes, and no row is read")


@handles("CreateSchemaStmt")
def _create_schema(node: Tree) -> Iterator[Effect]:
    yield takes("", NO_LOCK, "a new schema")
    for each in node.get("schemaElts", []):
        yield from read(each)


@handles("CompositeTypeStmt")
def _create_composite(node: Tree) -> Iterator[Effect]:
    yield takes("", NO_LOCK, f"a new type {relation_name(node['typevar'])}")
