"""The PostgreSQL of this checkout, whichever it is: a private cluster, or a container where there is no apt."""

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

from portaldb import cluster, compose
from portaldb.errors import ConnectError, RightsError

P = ParamSpec("P")
R = TypeVar("R")


def _as_owner(function: Callable[P, R]) -> Callable[P, R]:
    """Say whose the files are, where they are not the caller's."""

    @functools.wraps(function)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except PermissionError as error:
            owner = Path(cluster.home() if cluster.home().exists() else cluster.home().parent).owner()
            raise RightsError(
                f"The private PostgreSQL of this checkout belongs to the user {owner}, and {error.filename} is closed "
                f"to you. Run the same command as {owner}, or as root."
            ) from None

    return asked


@_as_owner
def start(say: cluster.Say, *, docker: bool = False) -> str:
    """Start it, made first if there is none, and say where it is."""
    if docker or compose.made():
        compose.start(say)
    else:
        cluster.start(say)
    return summary()


@_as_owner
def stop() -> str:
    """Stop it, and say so; its data stays."""
    if not running():
        return "PostgreSQL was not running."
    if compose.made():
        compose.stop()
    else:
        cluster.stop()
    return "Stopped; the data is kept."


@_as_owner
def reset(say: cluster.Say, *, docker: bool = False) -> str:
    """Remove it with everything in it, start an empty one, and say where that is."""
    if docker or compose.made():
        if compose.made():
            compose.remove()
        compose.start(say)
    else:
        cluster.reset(say)
    return summary()


def exists() -> bool:
    """Say whether there is one."""
    return compose.made() or cluster.find() is not None


@_as_owner
def running() -> bool:
    """Say whether it lets logins in."""
    if compose.made():
        return compose.running()
    found = cluster.find()
    return found is not None and found.running()


@_as_owner
def url(dbname: str = cluster.DATABASE, user: str = cluster.SUPERUSER) -> str:
    """Return its URL; raise ConnectError when it does not run."""
    if compose.made():
        _require_running()
        return compose.url(dbname, user)
    return cluster.require().url(dbname, user)


@_as_owner
def psql(dbname: str, user: str, arguments: tuple[str, ...]) -> None:
    """Become psql."""
    if compose.made():
        _require_running()
        command = [*compose.psql(dbname, user), *arguments]
    else:
        found = cluster.require()
        command = [str(found.programs / "psql"), found.url(dbname, user), *arguments]
    os.execvp(command[0], command)  # noqa: S606 - psql takes over


@_as_owner
def report() -> dict[str, object]:
    """Return what there is to know of it."""
    if compose.made():
        return {"running": running(), "url": compose.url(), "container": True}
    found = cluster.find()
    if found is None:
        return {"running": False, "url": None, "container": False}
    return {
        "running": found.running(),
        "url": found.url(),
        "container": False,
        "major": found.major(),
        "port": found.port,
        "data": str(found.data),
        "log": str(found.log),
    }


def summary() -> str:
    """Say in a sentence where it is."""
    found = cluster.find()
    if found is None:
        return f"PostgreSQL runs in a container: {compose.url()}"
    return f"PostgreSQL {found.major()} runs on port {found.port}; its socket is in {found.socket}."


def _require_running() -> None:
    if not running():
        raise ConnectError("The container with PostgreSQL is not running. Start it with: portaldb dev start")
