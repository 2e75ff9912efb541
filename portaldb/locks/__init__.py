"""What a statement does to which relation: the lock it takes, whom that blocks, and whether it rewrites or scans.

Source of the rules: PostgreSQL's documentation, "Explicit Locking" and the page of each command; for what the pages
leave out, `AlterTableGetLockLevel` and its neighbours. The tests hold every rule against a real server's pg_locks.
Only the statement is read, never a database, so that a plan needs no rights; where the answer depends on what is in
the database, `certain` is False, or `why` says on what.
"""

from collections.abc import Iterable
from dataclasses import replace

# Imported for their rules, which enter themselves.
from portaldb.locks import alter_table as alter_table
from portaldb.locks import attachments as attachments
from portaldb.locks import code as code
from portaldb.locks import queries as queries
from portaldb.locks import tables as tables
from portaldb.locks import upkeep as upkeep
from portaldb.locks.dispatch import read
from portaldb.locks.effect import BLOCKS, NO_LOCK, UNKNOWN, Effect, merge
from portaldb.source import split
from portaldb.tree import Tree

__all__ = ["BLOCKS", "NO_LOCK", "UNKNOWN", "Effect", "effects", "of_tree", "series"]


def effects(statement: str) -> list[Effect]:
    """Say what a statement (or several) does, one effect a relation; never empty for a statement.

    Raises UnparsableError where PostgreSQL's parser does not know the text.
    """
    return merge(effect for each in split(statement) for effect in read(each.tree))


def of_tree(tree: Tree) -> list[Effect]:
    """Say what a statement that is parsed already does."""
    return merge(read(tree))


def series(statements: Iterable[Tree]) -> list[list[Effect]]:
    """Say what each of a run of statements does, where a relation made by an earlier one blocks nobody."""
    made: set[str] = set()
    found = []
    for tree in statements:
        row = of_tree(tree)
        found.append([replace(each, blocks="", rule=None) if each.relation in made else each for each in row])
        made |= {each.relation for each in row if each.creates}
    return found
