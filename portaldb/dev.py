"""The PostgreSQL of this checkout, whichever it is: a private cluster, or a container where there is no apt."""

import os

from portaldb import cluster, compose
from portaldb.errors import ConnectError


def start(say: cluster.Say, *, docker: bool = False) -> str:
    """Start it, made first if there is none, and say where it is."""
    if docker or compose.made():
        compose.start(say)
    else:
        cluster.start(say)
    return summary()


def stop() -> str:
    """Stop it, and say so; its data stays."""
    if not running():
        return "PostgreSQL was not running."
    if compose.made():
        compose.stop()
    else:
        cluster.stop()
    return "Stopped; the data is kept."


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


def running() -> bool:
    """Say whether it lets logins in."""
    if compose.made():
        return compose.running()
    found = cluster.find()
    return found is not None and found.running()


def url(dbname: str = cluster.DATABASE, user: str = cluster.SUPERUSER) -> str:
    """Return its URL; raise ConnectError when it does not run."""
    if compose.made():
        _require_running()
        return compose.url(dbname, user)
    return cluster.require().url(dbname, user)


def psql(dbname: str, user: str, arguments: tuple[str, ...]) -> None:
    """Become psql."""
    if compose.made():
        _require_running()
        command = [*compose.psql(dbname, user), *arguments]
    else:
        found = cluster.require()
        command = [str(found.programs / "psql"), found.url(dbname, user), *arguments]
    os.execvp(command[0], command)  # noqa: S606 - psql takes over


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
