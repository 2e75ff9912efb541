"""PostgreSQL's own programs: where they are, and how they are run without root's rights."""

import contextlib
import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path
from typing import TypedDict

from portaldb.errors import EnvironmentMissingError, PortalError

OLDEST_MAJOR = 15

_KNOWN = Path("/usr/lib/postgresql")  # Debian's and Ubuntu's: one folder a major version


def find_programs(major: int | None = None) -> Path:
    """Return the folder of PostgreSQL's programs: the highest version with pg_cron, those with pgTAP first.

    With `major`, that version alone: the one that made a cluster. Raises EnvironmentMissingError.
    """
    folders = set(_KNOWN.glob("*/bin"))
    for name in (os.environ.get("PG_CONFIG"), shutil.which("pg_config")):
        if name and (bindir := _ask(name, "--bindir")):
            folders.add(Path(bindir))
    versions = {}
    for folder in folders:
        version = major_of(folder)
        if version == major or (major is None and version >= OLDEST_MAJOR):
            versions[folder] = version
    if not versions and major:
        raise EnvironmentMissingError(
            f"The private cluster was made by PostgreSQL {major}, whose programs are not on this machine any more. "
            f"Install postgresql-{major} and postgresql-{major}-cron again, or run 'portaldb dev reset' to make a "
            "new, empty cluster with the version that is here."
        )
    if not versions:
        raise EnvironmentMissingError(
            f"No PostgreSQL server of version {OLDEST_MAJOR} or later is installed (looked in {_KNOWN} and asked "
            "pg_config). Run scripts/up, which installs it, or install PostgreSQL with pg_cron and pgTAP (on Debian "
            "12: apt-get install postgresql-15 postgresql-15-cron postgresql-15-pgtap)."
        )
    usable = [folder for folder in versions if has_extension(folder, "pg_cron")]
    if not usable:
        best = max(versions.values())
        raise EnvironmentMissingError(
            f"PostgreSQL {best} is installed, but not its pg_cron extension, which runs the scheduled jobs and must "
            f"be loaded when the server starts. Run scripts/up, or: apt-get install postgresql-{best}-cron"
        )
    return max(usable, key=lambda folder: (has_extension(folder, "pgtap"), versions[folder]))


def major_of(bindir: Path) -> int:
    """Return the major version of the server's programs in a folder, 0 if there are none."""
    found = re.search(r"(\d+)", _ask(bindir / "postgres", "--version")) if (bindir / "initdb").exists() else None
    return int(found[1]) if found else 0


def has_extension(bindir: Path, name: str) -> bool:
    """Say whether an extension is installed for the programs in a folder."""
    # Debian's server package comes without pg_config where libpq-dev is not installed, so its folder is known here.
    shared = [f"/usr/share/postgresql/{bindir.parent.name}", _ask(bindir / "pg_config", "--sharedir")]
    return any(Path(folder, "extension", f"{name}.control").is_file() for folder in shared if folder)


def _ask(program: str | Path, option: str) -> str:
    try:
        return subprocess.run([program, option], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


class Identity(TypedDict, total=False):
    """The arguments of subprocess.run that make the child another user."""

    user: int
    group: int
    extra_groups: list[int]


def identity(uid: int) -> Identity:
    """Make a child that user, with that user's groups and no others; nothing to do but for root."""
    if os.geteuid() != 0 or uid == 0:
        return {}
    user = pwd.getpwuid(uid)
    return {"user": uid, "group": user.pw_gid, "extra_groups": os.getgrouplist(user.pw_name, user.pw_gid)}


def environment(uid: int) -> dict[str, str]:
    """Return the environment for a program: none of the caller's PG* settings, and messages in English."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    with contextlib.suppress(KeyError):
        kept["HOME"] = pwd.getpwuid(uid).pw_dir
    return kept | {"LC_ALL": "C"}


def run(doing: str, *argv: str | Path, uid: int, seconds: float = 120) -> str:
    """Run a program as a user and return what it printed; raise PortalError with the program's own words."""
    try:
        done = subprocess.run(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            cwd="/",  # the caller's folder may be closed to that user
            env=environment(uid),
            check=False,
            **identity(uid),
        )
    except subprocess.TimeoutExpired:
        raise PortalError(f"{doing} took longer than {seconds:.0f} seconds and was given up ({argv[0]}).") from None
    except OSError as error:
        raise PortalError(f"{doing} failed: {argv[0]} could not be started ({error.strerror}).") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-15:]
        raise PortalError(f"{doing} failed (exit status {done.returncode}):\n  " + "\n  ".join(said))
    return done.stdout
