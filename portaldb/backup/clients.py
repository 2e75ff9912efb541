"""PostgreSQL's client programs: which of those installed fit a server, and how they are run."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import conninfo

from portaldb.errors import EnvironmentMissingError, PortalError

_KNOWN = Path("/usr/lib/postgresql")  # Debian's and Ubuntu's: one folder a major version
_SECRETS = {"password": "PGPASSWORD"}


@dataclass(frozen=True)
class Clients:
    """The folder of pg_dump, pg_restore and psql, and their version."""

    folder: Path
    version: str

    def argv(self, program: str, url: str | None = None, *words: str) -> list[str]:
        """Return a command line, without a password: every user of a machine can read one."""
        target = [] if url is None else ["-d", conninfo.make_conninfo(url, **dict.fromkeys(_SECRETS))]
        return [str(self.folder / program), *target, *words]


def find(major: int) -> Clients:
    """Return the oldest installed clients that are not older than a server; raise EnvironmentMissingError.

    pg_dump refuses a newer server, and what a newer pg_dump writes an older pg_restore may not read.
    """
    folders = set(_KNOWN.glob("*/bin"))
    if found := shutil.which("pg_dump"):
        folders.add(Path(found).resolve().parent)
    versions = {}
    for folder in folders:
        if all((folder / name).exists() for name in ("pg_dump", "pg_restore", "psql")):
            match = re.search(r"(\d+)(\.\d+)*", _version(folder))
            if match and int(match[1]) >= major:
                versions[folder] = (int(match[1]), match[0])
    if not versions:
        raise EnvironmentMissingError(
            f"No pg_dump of version {major} or later is installed (looked in {_KNOWN} and PATH), and an older one "
            f"cannot read this server. On Debian: apt-get install postgresql-client-{major}"
        )
    folder = min(versions, key=lambda each: (versions[each][0], str(each)))
    return Clients(folder, versions[folder][1])


def pinned(url: str, connection: psycopg.Connection[Any]) -> str:
    """Return the URL of the one server that a connection found, where a URL names several."""
    parts = conninfo.conninfo_to_dict(url)
    if not any("," in str(parts.get(key, "")) for key in ("host", "hostaddr")):
        return url
    info = connection.info
    return conninfo.make_conninfo(url, host=info.host, hostaddr=info.hostaddr or None, port=info.port)


def environment(url: str) -> dict[str, str]:
    """Return the environment for a program that connects: with the password, and messages in English."""
    parts = conninfo.conninfo_to_dict(url)
    secrets = {name: str(parts[key]) for key, name in _SECRETS.items() if parts.get(key)}
    # PGOPTIONS could switch row_security or the role behind our back.
    kept = {name: value for name, value in os.environ.items() if name not in ("PGOPTIONS", "LC_ALL", "LANG")}
    return kept | secrets | {"LC_ALL": "C", "PGAPPNAME": "portaldb backup"}


def said(text: str) -> str:
    """Return the last words of a program as part of a paragraph; DETAIL and CONTEXT may quote rows, and stay out."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(("DETAIL:", "CONTEXT:", "HINT:", "Command was:"))]
    errors = [line for line in lines if re.search(r"error|ERROR|FATAL|could not|fatal", line)] or lines[-2:]
    kept = [re.sub(r"^(pg_dump|pg_restore|psql)(:<stdin>:\d+)?: (error|fatal): ", "", line) for line in errors[:2]]
    return "; ".join(kept)[:600].rstrip(".") or "it said nothing"


def failed(program: str, doing: str, stderr: str, status: int, after: str) -> PortalError:
    """Return what to raise when a program failed: what was being done, its words, what holds now."""
    hint = " Free space on that disk." if "No space left on device" in stderr else ""
    killed = f" It was ended by signal {-status}." if status < 0 else ""
    return PortalError(f"{doing} failed: {program} said: {said(stderr)}.{killed}{hint} {after}")


def _version(folder: Path) -> str:
    try:
        return subprocess.run([folder / "pg_dump", "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
