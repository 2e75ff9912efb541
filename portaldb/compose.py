"""PostgreSQL in a container (deploy/compose.yaml), for a machine that has a Docker engine and no PostgreSQL."""

import os
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

from portaldb import cluster, layout
from portaldb.errors import ConnectError, EnvironmentMissingError, PortalError, RefusedError
from portaldb.machine import Machine, fit, settings_of, this_machine, told

_START_SECONDS = 60


def made() -> bool:
    """Say whether this checkout's PostgreSQL is a container."""
    return layout.in_checkout() and "container_port" in cluster.read_state()


def start(say: cluster.Say) -> None:
    """Build the image, start the container, and wait until it lets logins in.

    A container that runs is left alone.
    """
    with cluster.locked():
        if cluster.find():
            raise RefusedError(
                "This checkout has a private cluster already. Remove it with 'portaldb dev reset' before a container "
                "takes its place, or go on with it: portaldb dev start"
            )
        port = _port() or cluster.free_port()
        passfile = cluster.home() / "pgpass"
        if not passfile.exists():
            _write_private(passfile, f"127.0.0.1:*:*:{cluster.SUPERUSER}:{secrets.token_urlsafe(32)}\n")
        spec = (layout.sql_root() / "deploy/postgresql.conf").read_text(encoding="utf-8")
        lowered = fit(settings_of(spec), _engine_machine())
        if lowered:
            say(told(lowered))
        building = "" if made() else "; the first time, its image is built, which takes a minute or two"
        say(f"Starting PostgreSQL in a container{building}.")
        settings = {
            "PORTALDB_PORT": str(port),
            "PORTALDB_PASSWORD": passfile.read_text(encoding="utf-8").strip().rpartition(":")[2],
            "PORTALDB_SETTINGS": " ".join(f"-c {one.name}={one.fits}" for one in lowered),
        }
        _compose("up", "--detach", "--build", settings=settings)
        cluster.write_state({"container_port": port})
        _wait()


def stop() -> None:
    """Stop the container; its volume stays."""
    _compose("stop")


def remove() -> None:
    """Remove the container and its volume, with every database in it."""
    _compose("down", "--volumes")
    (cluster.home() / "cluster.json").unlink(missing_ok=True)
    (cluster.home() / "pgpass").unlink(missing_ok=True)


def url(dbname: str = cluster.DATABASE, user: str = cluster.SUPERUSER) -> str:
    """Return the URL of a database in the container."""
    return cluster.container_url(_port(), dbname, user)


def _port() -> int:
    return int(cluster.read_state().get("container_port", 0))


def psql(dbname: str, user: str) -> list[str]:
    """Return the command line of psql in the container."""
    plain = [] if sys.stdin.isatty() else ["-T"]
    return [*_command(), "exec", *plain, "postgres", "psql", "-U", user, "-d", dbname]


def running() -> bool:
    """Say whether the server in the container lets logins in."""
    import psycopg

    try:
        psycopg.connect(url("postgres"), connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _wait() -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not running():
        if time.monotonic() > deadline:
            said = _compose("logs", "--tail", "15", "postgres")
            raise ConnectError(
                f"PostgreSQL in a container did not let anyone in for {_START_SECONDS} seconds. The end of its log:\n"
                f"{said}\nMend what it names and run the same command again, or begin anew with 'portaldb dev reset'."
            )
        time.sleep(0.3)


def _engine_machine() -> Machine:
    """Measure what the engine has, which may be a virtual machine smaller than this one."""
    here = this_machine(Path("/"))
    said = subprocess.run(
        ["docker", "info", "--format", "{{.MemTotal}} {{.NCPU}}"], capture_output=True, text=True, check=False
    ).stdout.split()
    return Machine(int(said[0]), int(said[1]), here.disk) if len(said) == 2 else here  # noqa: PLR2004 - the two asked for


def _command() -> list[str]:
    """Return the Compose command: Docker's plugin, or the program that came before it."""
    file = [
        "-p",
        f"mcp_portal-{cluster.path_hash(cluster.home())}",
        "-f",
        str(layout.sql_root() / "deploy/compose.yaml"),
    ]
    if shutil.which("docker"):
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        if plugin.returncode == 0:
            return ["docker", "compose", *file]
    if shutil.which("docker-compose"):
        return ["docker-compose", *file]
    raise EnvironmentMissingError(
        "There is no 'docker compose' on this machine, which starts PostgreSQL in a container. Install Docker with "
        "its Compose plugin, or point DATABASE_URL at a server, and run the same command again."
    )


def _compose(*words: str, settings: dict[str, str] | None = None) -> str:
    environment = dict(os.environ) | (settings or {})
    done = subprocess.run([*_command(), *words], capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        said = "\n  ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-15:])
        raise PortalError(
            f"'docker compose {words[0]}' failed (exit status {done.returncode}):\n  {said}\n"
            "Mend what it names, and run the same command again."
        )
    return done.stdout


def _write_private(path: Path, text: str) -> None:
    """Write a file that nobody else can read, not even while it is written."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
