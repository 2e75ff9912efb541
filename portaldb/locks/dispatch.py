"""Which rule reads which command: the rules enter themselves, and `read` asks them."""

from collections.abc import Callable, Iterator

from portaldb.locks.catalog import CATALOG_ONLY
from portaldb.locks.effect import NO_LOCK, Effect, takes, unknown
from portaldb.locks.names import spelt
from portaldb.tree import Tree

Handler = Callable[[Tree], Iterator[Effect]]
HANDLERS: dict[str, Handler] = {}


def handles(*kinds: str) -> Callable[[Handler], Handler]:
    """Enter a rule for the commands with these nodes."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(kinds, handler))
        return handler

    return register


def read(tree: Tree) -> list[Effect]:
    """Say what a statement does, one effect after the other; a command without a rule is told as unknown."""
    kind, node = next(iter(tree.items()))
    if kind in CATALOG_ONLY:
        return [takes("", NO_LOCK, CATALOG_ONLY[kind])]
    if kind not in HANDLERS:
        return [unknown(f"{spelt(kind)}: this command has no rule here")]
    return list(HANDLERS[kind](node))
