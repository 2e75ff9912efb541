"""ALTER TABLE: each subcommand has a lock of its own, and the statement takes the strongest from the start."""

import re
from collections.abc import Callable, Iterator

from portaldb.locks.dispatch import handles
from portaldb.locks.effect import (
    ACCESS_EXCLUSIVE,
    ACCESS_SHARE,
    ROW_SHARE,
    SHARE_ROW_EXCLUSIVE,
    SHARE_UPDATE_EXCLUSIVE,
    Effect,
    default_partition,
    takes,
)
from portaldb.locks.names import COERCIBLE, SERIAL, is_built_in, is_column, spelt, type_name, volatility
from portaldb.tree import Tree, nodes, relation_name


@handles("AlterTableStmt")
def _alter_table(node: Tree) -> Iterator[Effect]:
    name = relation_name(node["relation"])
    if node.get("objtype") == "OBJECT_TYPE":
        yield takes(name, ACCESS_EXCLUSIVE, "a composite type is changed")
        yield takes("", ACCESS_EXCLUSIVE, f"every table OF {name}, with CASCADE", certain=False)
        return
    index = node.get("objtype") == "OBJECT_INDEX"
    for each in node.get("cmds", []):
        command = each["AlterTableCmd"]
        subtype = command.get("subtype", "AT_AddColumn")
        if subtype in _ALTER:
            yield from _ALTER[subtype](name, command)
        elif subtype in _ALTER_PLAIN:
            lock, why, rule = _ALTER_PLAIN[subtype]
            yield takes(name, lock, why, rule=rule)
        else:
            yield takes(
                name,
                ACCESS_EXCLUSIVE,
                f"{spelt(subtype.removeprefix('AT_'))}: not in our rules, so the strongest lock is assumed",
                rewrites=True,
                certain=False,
            )
        if index and subtype == "AT_AttachPartition":
            yield takes("", ACCESS_SHARE, f"the tables of {name} and of the index attached")


_ALTER_PLAIN: dict[str, tuple[str, str, str | None]] = {
    "AT_AlterConstraint": (ACCESS_EXCLUSIVE, "a constraint's deferrability changes", None),
    "AT_ChangeOwner": (ACCESS_EXCLUSIVE, "the owner changes", None),
    "AT_ClusterOn": (SHARE_UPDATE_EXCLUSIVE, "the index for CLUSTER is marked", None),
    "AT_AlterColumnGenericOptions": (ACCESS_EXCLUSIVE, "an option of a foreign table's column changes", None),
    "AT_ColumnDefault": (ACCESS_EXCLUSIVE, "a column's default for later rows changes", None),
    "AT_DisableRowSecurity": (ACCESS_EXCLUSIVE, "row security is switched off", None),
    "AT_DisableRule": (ACCESS_EXCLUSIVE, "a rule is switched off", None),
    "AT_DisableTrig": (SHARE_ROW_EXCLUSIVE, "a trigger is switched off", None),
    "AT_DisableTrigAll": (SHARE_ROW_EXCLUSIVE, "all triggers are switched off", None),
    "AT_DisableTrigUser": (SHARE_ROW_EXCLUSIVE, "the users' triggers are switched off", None),
    "AT_DropCluster": (SHARE_UPDATE_EXCLUSIVE, "the mark for CLUSTER is taken away", None),
    "AT_DropColumn": (ACCESS_EXCLUSIVE, "a column is hidden; its data go, the space stays", "ban-drop-column"),
    "AT_DropExpression": (ACCESS_EXCLUSIVE, "a generated column becomes a plain one", None),
    "AT_DropIdentity": (ACCESS_EXCLUSIVE, "a column is no longer an identity", None),
    "AT_DropNotNull": (ACCESS_EXCLUSIVE, "NULL is let in", "ban-drop-not-null"),
    "AT_DropOids": (ACCESS_EXCLUSIVE, "nothing: no table has OIDs any more", None),
    "AT_DropOf": (ACCESS_EXCLUSIVE, "it is no longer a table of a type", None),
    "AT_EnableAlwaysRule": (ACCESS_EXCLUSIVE, "a rule is switched on", None),
    "AT_EnableAlwaysTrig": (SHARE_ROW_EXCLUSIVE, "a trigger is switched on, for replicas too", None),
    "AT_EnableReplicaRule": (ACCESS_EXCLUSIVE, "a rule is switched on for replicas", None),
    "AT_EnableReplicaTrig": (SHARE_ROW_EXCLUSIVE, "a trigger is switched on for replicas", None),
    "AT_EnableRowSecurity": (ACCESS_EXCLUSIVE, "row security is switched on", None),
    "AT_EnableRule": (ACCESS_EXCLUSIVE, "a rule is switched on", None),
    "AT_EnableTrig": (SHARE_ROW_EXCLUSIVE, "a trigger is switched on", None),
    "AT_EnableTrigAll": (SHARE_ROW_EXCLUSIVE, "all triggers are switched on", None),
    "AT_EnableTrigUser": (SHARE_ROW_EXCLUSIVE, "the users' triggers are switched on", None),
    "AT_ForceRowSecurity": (ACCESS_EXCLUSIVE, "row security reaches the owner", None),
    "AT_GenericOptions": (ACCESS_EXCLUSIVE, "an option of a foreign table changes", None),
    "AT_NoForceRowSecurity": (ACCESS_EXCLUSIVE, "row security no longer reaches the owner", None),
    "AT_ReplicaIdentity": (ACCESS_EXCLUSIVE, "the replica identity changes", None),
    "AT_ResetOptions": (SHARE_UPDATE_EXCLUSIVE, "a column's planner setting changes", None),
    "AT_SetCompression": (ACCESS_EXCLUSIVE, "the compression of later rows changes", None),
    "AT_SetIdentity": (ACCESS_EXCLUSIVE, "an identity column's settings change", None),
    "AT_SetOptions": (SHARE_UPDATE_EXCLUSIVE, "a column's planner setting changes", None),
    "AT_SetStatistics": (SHARE_UPDATE_EXCLUSIVE, "a column's statistics target changes", None),
    "AT_SetStorage": (ACCESS_EXCLUSIVE, "the storage of later rows changes", None),
    "AT_AddIdentity": (ACCESS_EXCLUSIVE, "a column that is there becomes an identity", None),
}
"""Subcommands that touch neither rows nor another table: the lock, what is done, squawk's rule."""


def _add_column(name: str, command: Tree) -> Iterator[Effect]:
    column = command["def"]["ColumnDef"]
    constraints = [each["Constraint"] for each in column.get("constraints", [])]
    kinds = {each["contype"] for each in constraints}
    default = next((each["raw_expr"] for each in constraints if each["contype"] == "CONSTR_DEFAULT"), None)
    what = f"column {column['colname']} is added"
    filled, certain, why, rule = _filling(column, kinds, default)
    scans = kinds & {"CONSTR_CHECK", "CONSTR_UNIQUE", "CONSTR_PRIMARY"}
    needs_value = "CONSTR_NOTNULL" in kinds and default is None and not filled
    if needs_value:
        why += ", and NOT NULL without a default fails where the table has rows"
        rule = "adding-required-field"
    if scans:
        words = sorted(each.removeprefix("CONSTR_").replace("PRIMARY", "PRIMARY KEY") for each in scans)
        why += f", and its {' and '.join(words)} is checked on every row"
    yield takes(
        name,
        ACCESS_EXCLUSIVE,
        f"{what}: {why}",
        rewrites=filled,
        scans=bool(scans) or needs_value,
        certain=certain or bool(scans) or needs_value,
        rule=rule,
    )
    for each in constraints:
        if each["contype"] == "CONSTR_FOREIGN":
            yield from _foreign_key(name, each, checked=default is not None or filled)


def _filling(column: Tree, kinds: set[str], default: Tree | None) -> tuple[bool, bool, str, str | None]:
    """Say whether a new column's value must be written into every row, whether that is certain, why, and the rule."""
    kind = type_name(column.get("typeName", {}))
    if kind in SERIAL:
        return True, True, f"{kind} numbers every row", "prefer-identity"
    if "CONSTR_IDENTITY" in kinds:
        return True, True, "an identity numbers every row", None
    if "CONSTR_GENERATED" in kinds:
        return True, True, "a stored generated column is computed for every row", "adding-field-with-default"
    if default is not None:
        volatile, said = volatility(default)
        if volatile is not False:
            return True, volatile is True, f"its default {said}", "adding-field-with-default"
    if not is_built_in(kind):
        return True, False, f"rows are written again where {kind} is a domain with a constraint", None
    if default is None:
        return False, True, "no row is touched", None
    return False, True, "its default is evaluated once and kept in the catalog, no row is touched", None


def _set_not_null(name: str, command: Tree) -> Iterator[Effect]:
    yield takes(
        name,
        ACCESS_EXCLUSIVE,
        f"every row is read for a NULL in {command['name']}, unless a validated CHECK ({command['name']} IS NOT NULL) "
        "shows that there is none",
        scans=True,
        rule="adding-not-nullable-field",
    )


def _add_constraint(name: str, command: Tree) -> Iterator[Effect]:
    constraint = command["def"]["Constraint"]
    kind = constraint["contype"]
    if kind == "CONSTR_FOREIGN":
        yield from _foreign_key(name, constraint, checked=not constraint.get("skip_validation"))
    elif kind == "CONSTR_CHECK":
        checked = not constraint.get("skip_validation")
        yield takes(
            name,
            ACCESS_EXCLUSIVE,
            "a CHECK is added, and every row is read; NOT VALID now and VALIDATE CONSTRAINT later lets traffic through"
            if checked
            else "a CHECK is added for later rows; VALIDATE CONSTRAINT reads the others",
            scans=checked,
            rule="constraint-missing-not-valid" if checked else None,
        )
    elif constraint.get("indexname"):
        primary = kind == "CONSTR_PRIMARY"
        yield takes(
            name,
            ACCESS_EXCLUSIVE,
            f"the index {constraint['indexname']} becomes a constraint"
            + (", and every row is read where a column of it is not NOT NULL yet" if primary else ""),
            scans=primary,
            certain=False,
        )
    else:
        yield takes(
            name,
            ACCESS_EXCLUSIVE,
            f"an index is built for the {_CONSTRAINT_WORDS.get(kind, 'constraint')}, and every row is read; CREATE "
            "UNIQUE INDEX CONCURRENTLY before, and USING INDEX here, lets traffic through",
            scans=True,
            rule="disallowed-unique-constraint" if kind == "CONSTR_UNIQUE" else None,
        )


_CONSTRAINT_WORDS = {"CONSTR_PRIMARY": "primary key", "CONSTR_UNIQUE": "UNIQUE", "CONSTR_EXCLUSION": "EXCLUDE"}


def _foreign_key(name: str, constraint: Tree, *, checked: bool) -> Iterator[Effect]:
    rule = "adding-foreign-key-constraint" if checked else None
    why = "a foreign key is added, and every row is looked up" if checked else "a foreign key is added for later rows"
    yield takes(name, SHARE_ROW_EXCLUSIVE, why, scans=checked, rule=rule)
    yield takes(
        relation_name(constraint["pktable"]),
        SHARE_ROW_EXCLUSIVE,
        f"a foreign key of {name} to it is added, with its triggers" + (", and it is read" if checked else ""),
        scans=checked,
        rule=rule,
    )


def _validate(name: str, command: Tree) -> Iterator[Effect]:
    yield takes(
        name, SHARE_UPDATE_EXCLUSIVE, f"every row is read for {command['name']}, and traffic goes on", scans=True
    )
    yield takes("", ROW_SHARE, f"the table that {command['name']} references, where it is a foreign key")


def _drop_constraint(name: str, command: Tree) -> Iterator[Effect]:
    yield takes(name, ACCESS_EXCLUSIVE, f"the constraint {command['name']} is dropped", rule="ban-drop-constraint")
    yield takes("", ACCESS_EXCLUSIVE, f"the table that {command['name']} references, where it is a foreign key")


def _alter_type(name: str, command: Tree) -> Iterator[Effect]:
    column, definition = command["name"], command["def"]["ColumnDef"]
    wanted = type_name(definition["typeName"])
    using = definition.get("raw_default")
    plain = using is None or is_column(using, column)
    certain = True
    if not plain:
        why = f"{column} is computed anew for every row, and its indexes are built again"
        certain = "FuncCall" in {tag for tag, _ in nodes(using)}
    elif wanted in COERCIBLE:
        why = (
            f"{column} becomes {wanted}: rows and indexes are written again unless the old type is stored alike (a "
            "shorter varchar to a longer one, varchar to text, a numeric to a wider one)"
        )
        certain = False
    elif is_built_in(wanted):
        why = f"{column} becomes {wanted}: rows and indexes are written again unless it has that type already"
    else:
        why = f"{column} becomes {wanted}: rows and indexes are written again unless the old type is stored alike"
        certain = False
    yield takes(name, ACCESS_EXCLUSIVE, why, rewrites=True, scans=True, certain=certain, rule="changing-column-type")


def _set_options(name: str, command: Tree) -> Iterator[Effect]:
    options = command.get("def", {}).get("List", {}).get("items", [])
    names = [each["DefElem"]["defname"] for each in options]
    light = all(_LIGHT_OPTION.match(each) for each in names)
    lock = SHARE_UPDATE_EXCLUSIVE if light else ACCESS_EXCLUSIVE
    yield takes(name, lock, f"{', '.join(names)} changes, for what is written or read later")


_LIGHT_OPTION = re.compile(
    r"fillfactor$|autovacuum_|log_autovacuum|toast_tuple_target$|parallel_workers$|vacuum_index_cleanup$|vacuum_truncate$"
    r"|deduplicate_items$|pages_per_range$|autosummarize$|n_distinct"
)


def _rewritten(why: str) -> Callable[[str, Tree], Iterator[Effect]]:
    def rule(name: str, _command: Tree) -> Iterator[Effect]:
        yield takes(name, ACCESS_EXCLUSIVE, why, rewrites=True, scans=True)

    return rule


def _attach(name: str, command: Tree) -> Iterator[Effect]:
    partition = command["def"]["PartitionCmd"]
    child = relation_name(partition["name"])
    if "bound" not in partition:  # ALTER INDEX … ATTACH PARTITION
        yield takes(name, SHARE_UPDATE_EXCLUSIVE, f"the index {child} is attached")
        yield takes(child, ACCESS_EXCLUSIVE, f"the index is attached to {name}")
        return
    yield takes(name, SHARE_UPDATE_EXCLUSIVE, f"{child} is attached, and traffic goes on")
    yield takes(
        child,
        ACCESS_EXCLUSIVE,
        "it is attached, and every row is read, unless a CHECK constraint shows that all of them belong; an index of "
        "the parent that it lacks is built",
        scans=True,
    )
    if not partition["bound"].get("is_default"):
        yield default_partition(name)
    yield takes("", SHARE_ROW_EXCLUSIVE, f"the tables that foreign keys of {name} reference", certain=False)


def _detach(name: str, command: Tree) -> Iterator[Effect]:
    partition = command["def"]["PartitionCmd"]
    child = relation_name(partition["name"])
    if partition.get("concurrent"):
        yield takes(name, SHARE_UPDATE_EXCLUSIVE, f"{child} is detached, and traffic goes on")
        yield takes(child, ACCESS_EXCLUSIVE, "it is detached, at the end, when no query uses it any more")
        return
    yield takes(name, ACCESS_EXCLUSIVE, f"{child} is detached", rule="require-concurrent-partition-detach")
    yield takes(child, ACCESS_EXCLUSIVE, "it is detached")
    yield takes("", ACCESS_EXCLUSIVE, f"the default partition of {name}, where it has one")
    yield takes("", SHARE_ROW_EXCLUSIVE, f"the tables that foreign keys of {name} reference", certain=False)


def _detach_finalize(name: str, command: Tree) -> Iterator[Effect]:
    child = relation_name(command["def"]["PartitionCmd"]["name"])
    yield takes(name, SHARE_UPDATE_EXCLUSIVE, f"the detaching of {child} is finished")
    yield takes(child, ACCESS_EXCLUSIVE, "its detaching is finished")


def _inherit(name: str, command: Tree) -> Iterator[Effect]:
    yield takes(name, ACCESS_EXCLUSIVE, "it becomes a child of another table")
    yield takes(relation_name(command["def"]["RangeVar"]), SHARE_UPDATE_EXCLUSIVE, f"{name} becomes its child")


def _of_type(name: str, command: Tree) -> Iterator[Effect]:
    yield takes(name, ACCESS_EXCLUSIVE, "it becomes a table of a type")
    yield takes(type_name(command["def"]["TypeName"]), ACCESS_SHARE, f"{name} becomes a table of it")


def _no_inherit(name: str, command: Tree) -> Iterator[Effect]:
    yield takes(name, ACCESS_EXCLUSIVE, "it is no longer a child")
    yield takes(relation_name(command["def"]["RangeVar"]), ACCESS_SHARE, f"{name} is no longer its child")


_ALTER: dict[str, Callable[[str, Tree], Iterator[Effect]]] = {
    "AT_AddColumn": _add_column,
    "AT_AddConstraint": _add_constraint,
    "AT_AddInherit": _inherit,
    "AT_AddOf": _of_type,
    "AT_AlterColumnType": _alter_type,
    "AT_AttachPartition": _attach,
    "AT_DetachPartition": _detach,
    "AT_DetachPartitionFinalize": _detach_finalize,
    "AT_DropConstraint": _drop_constraint,
    "AT_DropInherit": _no_inherit,
    "AT_ResetRelOptions": _set_options,
    "AT_SetAccessMethod": _rewritten("the table is copied into another access method"),
    "AT_SetExpression": _rewritten("a stored generated column is computed anew for every row"),
    "AT_SetLogged": _rewritten("the table is copied, and into the write-ahead log"),
    "AT_SetNotNull": _set_not_null,
    "AT_SetRelOptions": _set_options,
    "AT_SetTableSpace": _rewritten("the files are copied into another tablespace"),
    "AT_SetUnLogged": _rewritten("the table is copied, and its rows no longer survive a crash"),
    "AT_ValidateConstraint": _validate,
}
