"""What hangs on a table: policies, triggers, rules, views, comments, publications."""

from collections.abc import Iterator

from portaldb.locks.dispatch import handles
from portaldb.locks.effect import (
    ACCESS_EXCLUSIVE,
    ACCESS_SHARE,
    NO_LOCK,
    SHARE_ROW_EXCLUSIVE,
    SHARE_UPDATE_EXCLUSIVE,
    Effect,
    created,
    takes,
)
from portaldb.locks.names import PARTS, RELATIONS, object_words
from portaldb.locks.queries import query
from portaldb.tree import Tree, quoted, relation_name, strings


@handles("CreatePolicyStmt", "AlterPolicyStmt")
def _policy(node: Tree) -> Iterator[Effect]:
    yield takes(relation_name(node["table"]), ACCESS_EXCLUSIVE, f"the policy {node['policy_name']} is added or changed")
    for key in ("qual", "with_check"):
        if key in node:
            yield from query(node[key], calls=False)


@handles("CreateTrigStmt")
def _create_trigger(node: Tree) -> Iterator[Effect]:
    yield takes(relation_name(node["relation"]), SHARE_ROW_EXCLUSIVE, f"the trigger {node['trigname']} is added")
    if "constrrel" in node:
        yield takes(
            relation_name(node["constrrel"]), ACCESS_SHARE, f"the constraint trigger {node['trigname']} names it"
        )


@handles("RuleStmt")
def _create_rule(node: Tree) -> Iterator[Effect]:
    yield takes(relation_name(node["relation"]), ACCESS_EXCLUSIVE, f"the rule {node['rulename']} is added")
    yield from query(node.get("actions", []), calls=False)


@handles("ViewStmt")
def _view(node: Tree) -> Iterator[Effect]:
    name = relation_name(node["view"])
    if node.get("replace"):
        yield takes(name, ACCESS_EXCLUSIVE, "the view is replaced, where it is there already")
    else:
        yield created(name, "a new view")
    yield from query(node["query"], calls=False)


@handles("CommentStmt", "SecLabelStmt")
def _comment(node: Tree) -> Iterator[Effect]:
    kind, words = node["objtype"], object_words(node["objtype"])
    names = strings(node.get("object", {}))
    if kind in PARTS:
        yield takes(quoted(names[:-1]), ACCESS_SHARE, f"its {words} {names[-1]} is described")
    elif kind == "OBJECT_COLUMN":
        yield takes(quoted(names[:-1]), SHARE_UPDATE_EXCLUSIVE, f"its column {names[-1]} is described")
    elif kind in RELATIONS:
        yield takes(quoted(names), SHARE_UPDATE_EXCLUSIVE, "it is described")
    else:
        yield takes("", NO_LOCK, f"the {words} is described")


@handles("CreatePublicationStmt", "AlterPublicationStmt")
def _publication(node: Tree) -> Iterator[Effect]:
    tables = [each["PublicationObjSpec"] for each in node.get("pubobjects", [])]
    named = [relation_name(each["pubtable"]["relation"]) for each in tables if "pubtable" in each]
    for name in named:
        yield takes(name, SHARE_UPDATE_EXCLUSIVE, "it is published, or no longer")
    if not named:
        yield takes("", NO_LOCK, "a publication is made or changed")
