"""Indexes, VACUUM and other upkeep."""

from collections.abc import Iterator

from portaldb.locks.dispatch import handles
from portaldb.locks.effect import (
    ACCESS_EXCLUSIVE,
    ACCESS_SHARE,
    EXCLUSIVE,
    SHARE,
    SHARE_UPDATE_EXCLUSIVE,
    Effect,
    takes,
)
from portaldb.locks.names import options_on
from portaldb.tree import Tree, relation_name


@handles("IndexStmt")
def _create_index(node: Tree) -> Iterator[Effect]:
    name = relation_name(node["relation"])
    if node.get("concurrent"):
        yield takes(
            name,
            SHARE_UPDATE_EXCLUSIVE,
            "an index is built while traffic goes on; it waits for the transactions that are older",
            scans=True,
        )
    else:
        alone = " (ONLY: no partition is read)" if not node["relation"].get("inh") else ""
        yield takes(
            name,
            SHARE,
            f"an index is built{alone}; CONCURRENTLY lets writes through",
            scans=not alone,
            rule="require-concurrent-index-creation",
        )


@handles("ReindexStmt")
def _reindex(node: Tree) -> Iterator[Effect]:
    kind = node["kind"].removeprefix("REINDEX_OBJECT_").lower()
    concurrent = "concurrently" in options_on(node.get("params", []))
    rule = None if concurrent else "require-concurrent-reindex"
    on_table = SHARE_UPDATE_EXCLUSIVE if concurrent else SHARE
    if kind == "index":
        name = relation_name(node["relation"])
        on_index = SHARE_UPDATE_EXCLUSIVE if concurrent else ACCESS_EXCLUSIVE
        yield takes(name, on_index, "the index is built again", rewrites=True, rule=rule)
        yield takes("", on_table, f"the table of {name} is read", scans=True)
        return
    name = relation_name(node["relation"]) if kind == "table" else ""
    which = "" if name else f" of every table of the {kind} {node.get('name', '')}".rstrip()
    waiting = "" if concurrent else ", and readers wait for each"
    yield takes(name, on_table, f"every index{which} is built again{waiting}", scans=True, rule=rule)


@handles("VacuumStmt")
def _vacuum(node: Tree) -> Iterator[Effect]:
    full = "full" in options_on(node.get("options", []))
    vacuum = bool(node.get("is_vacuumcmd"))
    lock = ACCESS_EXCLUSIVE if full else SHARE_UPDATE_EXCLUSIVE
    what = "what changed is read" if vacuum else "a sample is read"
    why = "it is written anew" if full else f"{what}, and traffic goes on"
    relations = [relation_name(each["VacuumRelation"]["relation"]) for each in node.get("rels", [])]
    for name in relations or [""]:
        said = why if name else f"every table: {why}"
        yield takes(name, lock, said, rewrites=full, scans=vacuum)


@handles("ClusterStmt")
def _cluster(node: Tree) -> Iterator[Effect]:
    name = relation_name(node["relation"]) if "relation" in node else ""
    every = "" if name else "every table that was clustered before: "
    yield takes(
        name,
        ACCESS_EXCLUSIVE,
        f"{every}it is written anew in an index's order",
        rewrites=True,
        scans=True,
    )


@handles("RefreshMatViewStmt")
def _refresh(node: Tree) -> Iterator[Effect]:
    name = relation_name(node["relation"])
    if node.get("concurrent"):
        yield takes(name, EXCLUSIVE, "its query runs again, and the difference is written; reads go on", scans=True)
    else:
        yield takes(name, ACCESS_EXCLUSIVE, "its query runs again, and it is written anew", rewrites=True)
    yield takes("", ACCESS_SHARE, f"the tables that {name} reads")


@handles("CreateStatsStmt")
def _create_statistics(node: Tree) -> Iterator[Effect]:
    for each in node["relations"]:
        yield takes(
            relation_name(each["RangeVar"]), SHARE_UPDATE_EXCLUSIVE, "extended statistics are added, filled by ANALYZE"
        )
