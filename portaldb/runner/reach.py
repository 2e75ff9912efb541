"""What a person reaches a container by: its log, and its standard input and output."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from portaldb import database as db
from portaldb.errors import ConnectError, RefusedError
from portaldb.runner import store
from portaldb.runner.engine import Docker, Engine, EngineFailedError, EngineGoneError


@contextmanager
def _reached(database: str | None, row: str) -> Iterator[tuple[Engine, str]]:
    with db.connect(db.resolve(database), name="portaldb runner") as connection:
        container = store.container(connection, row)
    try:
        yield Docker(), container
    except EngineGoneError as error:
        raise ConnectError(f"The container engine does not answer: {error}") from None
    except EngineFailedError as error:
        raise RefusedError(f"The container {container[:12]} cannot be reached: {error}.") from None


def logs(database: str | None, row: str, tail: int | None, follow: bool) -> None:
    """Print what a row's container has said."""
    with _reached(database, row) as (engine, container):
        for said in engine.logs(container, tail, follow):
            sys.stdout.buffer.write(said)
            sys.stdout.buffer.flush()


def attach(database: str | None, row: str) -> None:
    """Join a row's container with this process's standard input, output and error."""
    with _reached(database, row) as (engine, container):
        for number, said in engine.attach(container, sys.stdin.buffer):
            stream = (sys.stderr if number == 2 else sys.stdout).buffer  # noqa: PLR2004 - as everywhere
            stream.write(said)
            stream.flush()
