"""A private PostgreSQL cluster: the one of this checkout under .portaldb/, or a throwaway one for tests.

It never touches a cluster of the system. PostgreSQL refuses to run as root, so root hands the work to the user
who owns the cluster's folder. Logins come over the unix socket (peer, with a map that lets root, the cluster's
own user and the checkout's owner be any role in ROLES) or over 127.0.0.1 (scram-sha-256 alone).
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pwd
import re
import shutil
import signal
import socket as sockets
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from portaldb import layout
from portaldb.errors import (
    ConnectError,
    EnvironmentMissingError,
    PortalError,
    RefusedError,
    RightsError,
    UsageError,
)

DATABASE = "mcp_portal"
SUPERUSER = "postgres"
ROLES = (
    SUPERUSER,
    "mcp_admin",
    "portal_app",
    "portal_api",
    "portal_runner",
    "portal_maintenance",
    "portal_monitor",
    "portal_backup",
)
"""The roles that peer lets root, the cluster's user and the checkout's owner be."""

OLDEST_MAJOR = 15
LOCALE = "en_US.utf8"
SOCKET_PATH_BYTES = 107  # sockaddr_un.sun_path is 108 bytes, the last of them NUL
PORTS = range(54320, 54420)
START_SECONDS = 60
KEPT_LOG_BYTES = 10 * 2**20

Say = Callable[[str], None]


def _silent(_line: str) -> None:
    """Say nothing."""


# The machine, and what of the spec's settings fits it ---------------------------------------------------------


@dataclass(frozen=True)
class Machine:
    """What the settings are fitted to: memory and free disk in bytes, and cores."""

    memory: int
    cores: int
    disk: int


@dataclass(frozen=True)
class Scaled:
    """A setting that was lowered: its value in deploy/postgresql.conf, the value that fits, and why."""

    name: str
    asked: str
    fits: str
    why: str


def this_machine(folder: Path) -> Machine:
    """Measure this machine; a container's memory limit counts where it is lower."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            memory = min(memory, int(Path(limit).read_text()))
    return Machine(memory, len(os.sched_getaffinity(0)), shutil.disk_usage(folder).free)


_SETTING = re.compile(r"^\s*([\w.]+)\s*=\s*'?([^'#\n]*?)'?\s*(?:#.*)?$", re.MULTILINE)
_UNITS = {"kB": 2**10, "MB": 2**20, "GB": 2**30}


def settings_of(text: str) -> dict[str, str]:
    """Read the settings of a postgresql.conf."""
    return dict(_SETTING.findall(text))


def scale(settings: Mapping[str, str], machine: Machine) -> list[Scaled]:
    """Say which settings do not fit the machine, in the proportions that the spec's values have at 8 GB and 8 cores.

    max_worker_processes stays: it is a number of slots, which pg_cron's jobs need too, and an empty one costs nothing.
    """
    memory, cores = (
        f"{_size(machine.memory)} of memory",
        f"{machine.cores} {'core' if machine.cores == 1 else 'cores'}",
    )
    disk = f"{_size(machine.disk)} of free disk"
    limits = [
        ("shared_buffers", machine.memory // 4, f"a quarter of {memory}"),
        ("effective_cache_size", machine.memory * 3 // 4, f"three quarters of {memory}"),
        ("maintenance_work_mem", machine.memory // 16, f"a sixteenth of {memory}"),
        ("min_wal_size", machine.disk // 32, f"a part of {disk}"),
        ("max_wal_size", machine.disk // 8, f"a part of {disk}"),
        ("max_parallel_workers", machine.cores, cores),
        ("max_parallel_workers_per_gather", max(1, machine.cores // 2), f"half of {cores}"),
    ]
    found = []
    for name, limit, why in limits:
        asked = settings.get(name)
        if asked is None:
            continue
        unit = asked[-2:] if asked[-2:] in _UNITS else ""
        if int(asked.removesuffix(unit)) * _UNITS.get(unit, 1) > limit:
            # 32 MB is the least a server with 16 MB segments of WAL can hold in two of them
            fits = f"{max(32, limit // 2**20)}MB" if unit else str(limit)
            found.append(Scaled(name, asked, fits, why))
    return found


def _size(count: int) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count // 2**20} MB"


# The programs --------------------------------------------------------------------------------------------------


def _major(bindir: Path) -> int:
    """Return the major version of the programs in a folder, 0 if they do not say."""
    try:
        said = subprocess.run(
            [bindir / "postgres", "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return 0
    found = re.search(r"(\d+)", said)
    return int(found[1]) if found else 0


def _extension_dirs(bindir: Path) -> list[Path]:
    """Return where the control files of the programs in a folder may lie."""
    # Debian: /usr/lib/postgresql/15/bin and /usr/share/postgresql/15; elsewhere pg_config tells.
    found = [Path("/usr/share/postgresql", bindir.parent.name, "extension")]
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        said = subprocess.run(
            [bindir / "pg_config", "--sharedir"], capture_output=True, text=True, check=True
        )
        found.append(Path(said.stdout.strip(), "extension"))
    return found


def has_extension(bindir: Path, name: str) -> bool:
    """Say whether an extension is installed for the programs in a folder."""
    return any((folder / f"{name}.control").is_file() for folder in _extension_dirs(bindir))


def find_programs(major: int | None = None) -> Path:
    """Return the folder of PostgreSQL's programs: the highest version that has pg_cron, with pgTAP before without.

    With `major`, that version alone: the one that made a cluster. Raises EnvironmentMissingError.
    """
    folders = set(Path("/usr/lib/postgresql").glob("*/bin"))
    for name in (os.environ.get("PG_CONFIG"), shutil.which("pg_config")):
        with contextlib.suppress(OSError, subprocess.CalledProcessError):
            if name:
                said = subprocess.run([name, "--bindir"], capture_output=True, text=True, check=True).stdout
                folders.add(Path(said.strip()))
    versions = {
        folder: version
        for folder in folders
        if (folder / "initdb").exists() and (version := _major(folder)) >= OLDEST_MAJOR
    }
    if major is not None:
        versions = {folder: version for folder, version in versions.items() if version == major}
        if not versions:
            raise EnvironmentMissingError(
                f"The private cluster was made by PostgreSQL {major}, whose programs are not on this machine any more. "
                f"Install postgresql-{major} and postgresql-{major}-cron again, or run 'portaldb dev reset' to make "
                f"a new, empty cluster with the version that is here."
            )
    if not versions:
        raise EnvironmentMissingError(
            f"No PostgreSQL server of version {OLDEST_MAJOR} or later is installed (looked in /usr/lib/postgresql and "
            "asked pg_config). Run scripts/up, which installs it, or install PostgreSQL with pg_cron and pgTAP "
            "(on Debian 12: apt-get install postgresql-15 postgresql-15-cron postgresql-15-pgtap)."
        )
    usable = [folder for folder in versions if has_extension(folder, "pg_cron")]
    if not usable:
        best = max(versions.values())
        raise EnvironmentMissingError(
            f"PostgreSQL {best} is installed, but not its pg_cron extension, which runs the scheduled jobs and must be "
            f"loaded when the server starts. Run scripts/up, or: apt-get install postgresql-{best}-cron"
        )
    return max(usable, key=lambda folder: (has_extension(folder, "pgtap"), versions[folder]))


# Whose processes they are --------------------------------------------------------------------------------------


def _owner_for(root: Path) -> pwd.struct_passwd:
    """Return the user a new cluster belongs to: the one who runs this; for root the checkout's owner, else postgres."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    if owner := root.stat().st_uid:
        return pwd.getpwuid(owner)
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        raise EnvironmentMissingError(
            "PostgreSQL refuses to run as root, and there is no 'postgres' user on this machine to run it as. "
            "Install PostgreSQL's packages, which make that user (scripts/up does), or run this as another user."
        ) from None


def _as_user(uid: int) -> dict[str, object]:
    """Return the arguments of subprocess.run that make the child that user's, with that user's groups and no others."""
    if os.geteuid() != 0 or uid == 0:
        return {}
    user = pwd.getpwuid(uid)
    groups = os.getgrouplist(user.pw_name, user.pw_gid)
    return {"user": uid, "group": user.pw_gid, "extra_groups": groups}


def _environment(uid: int) -> dict[str, str]:
    """Return the environment for a program of PostgreSQL: none of the caller's PG* settings, messages in English."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_"))}
    kept.pop("LANG", None)
    with contextlib.suppress(KeyError):
        kept["HOME"] = pwd.getpwuid(uid).pw_dir
    return kept | {"LC_ALL": "C"}


def _run(doing: str, *argv: str | Path, uid: int, seconds: float = 120) -> str:
    """Run a program of PostgreSQL as a user and return what it printed; raise PortalError with its own words."""
    try:
        done = subprocess.run(  # type: ignore[call-overload]
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            cwd="/",  # the caller's folder may be closed to that user
            env=_environment(uid),
            **_as_user(uid),
        )
    except subprocess.TimeoutExpired:
        raise PortalError(
            f"{doing} took longer than {seconds:.0f} seconds and was given up: {argv[0]}"
        ) from None
    except OSError as error:
        raise PortalError(f"{doing} failed: {argv[0]} could not be started: {error.strerror}.") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()[-15:]
        raise PortalError(f"{doing} failed (exit status {done.returncode}):\n  " + "\n  ".join(said))
    return str(done.stdout)


# The cluster ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cluster:
    """A cluster on disk: its folder (data, log), its socket's folder, its port, and the programs that run it."""

    base: Path
    socket: Path
    port: int
    programs: Path
    uid: int
    throwaway: bool = False

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.base / "data"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.base / "server.log"

    def url(self, dbname: str = DATABASE, user: str = SUPERUSER) -> str:
        """Return the URL of a database over the socket; it holds no password."""
        host = quote(str(self.socket), safe="")
        return f"postgresql://{quote(user, safe='')}@/{quote(dbname, safe='')}?host={host}&port={self.port}"

    def tcp_url(self, dbname: str, user: str, password: str) -> str:
        """Return the URL of a database over 127.0.0.1, for a role that has a password."""
        login = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return f"postgresql://{login}@127.0.0.1:{self.port}/{quote(dbname, safe='')}"

    def pid(self) -> int | None:
        """Return the server's process, None when it does not run; a pid that another process has now is no server."""
        return _server_pid(self.data)

    def running(self) -> bool:
        """Say whether the server runs and lets logins in."""
        return self.pid() is not None and _pid_lines(self.data)[7:8] == ["ready"]

    @classmethod
    def create(
        cls, base: Path, owner: pwd.struct_passwd, say: Say = _silent, *, throwaway: bool = False
    ) -> "Cluster":
        """Make a cluster in `base`, which belongs to `owner`; what an interrupted attempt left is replaced."""
        programs = find_programs()
        uid, gid = owner.pw_uid, owner.pw_gid
        base.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            os.chown(base, uid, gid)
        fresh = base / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        locale = LOCALE
        if not _has_locale(locale):
            locale = "C.UTF-8"
            say(
                f"The locale {LOCALE} is not installed: the cluster's own databases use {locale}, and 'portaldb init' "
                f"cannot make {DATABASE} until it is (on Debian: apt-get install locales, then "
                f"'localedef -i en_US -f UTF-8 en_US.UTF-8')."
            )
        _run(
            "Making the cluster (initdb)",
            *(programs / "initdb", "-D", fresh, "-U", SUPERUSER, "-E", "UTF8", f"--locale={locale}"),
            *("--lc-messages=C", "--data-checksums", "--auth-local=peer", "--auth-host=scram-sha-256"),
            *(["--no-sync"] if throwaway else []),
            uid=uid,
        )
        with (fresh / "postgresql.conf").open("a") as conf:
            conf.write("\n# deploy/postgresql.conf, what of it was lowered, and where this server listens\n")
            conf.write("include_dir = 'conf.d'\n")
        _write(
            fresh / "conf.d" / "90-yours.conf",
            "# Your own settings: kept as they are, and read last.\n",
            uid,
            gid,
        )
        # In place of initdb's lines, which know no map
        _write(fresh / "pg_hba.conf", _HBA, uid, gid)
        fresh.rename(base / "data")
        return cls(base, _socket_folder(base, uid), _free_port(), programs, uid, throwaway)

    @classmethod
    def create_throwaway(cls, say: Say = _silent) -> "Cluster":
        """Make and start a cluster that survives no crash and is quick for it; `destroy` it when done."""
        base = Path(tempfile.mkdtemp(prefix="portaldb-"))
        owner = _owner_for(Path("/")) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        base.chmod(0o755)
        try:
            return cls.create(base, owner, say, throwaway=True).start(say)
        except BaseException:
            shutil.rmtree(base, ignore_errors=True)
            raise

    def start(self, say: Say = _silent) -> "Cluster":
        """Start the server, wait until it lets logins in, and return the cluster as it now is.

        A server that runs is left alone. What a crash left (a stale postmaster.pid, a socket's lock) is removed; a
        port that something else has taken meanwhile is replaced.
        """
        self._check_rights("start")
        if self.pid() is not None:
            self._wait_ready()
            return self
        self._remove_stale()
        cluster = self
        for _attempt in range(3):
            if not _port_is_free(cluster.port):
                taken, cluster = cluster.port, replace(cluster, port=_free_port())
                say(f"Port {taken} is taken by another program; the cluster now has port {cluster.port}.")
            cluster._configure(say)
            size = cluster._rotate_log()
            try:
                _run(
                    "Starting PostgreSQL",
                    *(cluster.programs / "pg_ctl", "-D", cluster.data, "-l", cluster.log, "-w"),
                    *("-t", str(START_SECONDS), "-s", "start"),
                    uid=self.uid,
                    seconds=START_SECONDS + 10,
                )
            except PortalError as error:
                tail = cluster._log_since(size)
                if "Address already in use" in tail:
                    continue
                raise PortalError(
                    f"{error}\nThe end of the server's log ({cluster.log}):\n  "
                    + "\n  ".join(tail.strip().splitlines()[-15:] or ["it is empty"])
                    + "\nMend what the log names and run the same command again; 'portaldb dev reset' makes a new, "
                    "empty cluster."
                ) from None
            return cluster
        raise PortalError(
            f"Starting PostgreSQL failed: each of three ports was taken before it could be used (last: {cluster.port}). "
            "Run the same command again."
        )

    def stop(self, *, fast: bool = True) -> bool:
        """Stop the server and wait until it is gone; return False when it did not run."""
        if self.pid() is None:
            return False
        self._check_rights("stop")
        _run(
            "Stopping PostgreSQL",
            *(self.programs / "pg_ctl", "-D", self.data, "-m", "fast" if fast else "immediate"),
            *("-w", "-t", str(START_SECONDS), "-s", "stop"),
            uid=self.uid,
            seconds=START_SECONDS + 10,
        )
        return True

    def destroy(self) -> None:
        """Stop the server and remove the cluster with everything in it."""
        self._check_rights("remove")
        self.stop(fast=False)
        shutil.rmtree(self.socket, ignore_errors=True)
        shutil.rmtree(self.base)

    def version(self) -> int:
        """Return the major version that made the cluster."""
        return int((self.data / "PG_VERSION").read_text())

    def _check_rights(self, verb: str) -> None:
        if os.geteuid() not in (0, self.uid):
            name = pwd.getpwuid(self.uid).pw_name
            raise RightsError(
                f"The private cluster in {self.base} belongs to the user {name}, so only {name} and root can {verb} it. "
                f"Run the same command as {name}, or with sudo."
            )

    def _wait_ready(self) -> None:
        """Wait for a server that is starting, whoever started it."""
        deadline = time.monotonic() + START_SECONDS
        while not self.running():
            if self.pid() is None or time.monotonic() > deadline:
                raise PortalError(
                    f"PostgreSQL was starting and did not get ready. The end of its log ({self.log}):\n  "
                    + "\n  ".join(self._log_since(0).strip().splitlines()[-15:])
                    + "\nRun the same command again."
                )
            time.sleep(0.05)

    def _remove_stale(self) -> None:
        """Remove the lock files of a server that is gone: its pid may be another process's by now."""
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        for left in self.socket.glob(".s.PGSQL.*"):
            left.unlink(missing_ok=True)

    def _configure(self, say: Say) -> None:
        """Write the server's settings anew: deploy/postgresql.conf may have changed, and so may the machine."""
        gid = pwd.getpwuid(self.uid).pw_gid
        _make_socket_folder(self.socket, self.uid, gid)
        spec = (layout.sql_root() / "deploy" / "postgresql.conf").read_text()
        lines = []
        if self.throwaway:
            lines = [
                "fsync = off",
                "synchronous_commit = off",
                "full_page_writes = off",
                "shared_buffers = 128MB",
            ]
            lines += ["min_wal_size = 80MB", "log_checkpoints = off"]
        else:
            scaled = scale(settings_of(spec), this_machine(self.base))
            lines = [f"{one.name} = {one.fits}  # the spec says {one.asked}; {one.why}" for one in scaled]
            if scaled:
                fitted = ", ".join(f"{one.name} {one.fits} (not {one.asked}: {one.why})" for one in scaled)
                say(f"Fitted to this machine: {fitted}.")
        where = [
            "listen_addresses = '127.0.0.1'",
            f"port = {self.port}",
            f"unix_socket_directories = '{_quoted(self.socket)}'",
            "unix_socket_permissions = 0777  # who may log in is pg_hba.conf's to say",
        ]
        names = {"root", pwd.getpwuid(self.uid).pw_name, _checkout_owner()}
        ident = "".join(f'portaldb "{who}" "{role}"\n' for who in sorted(names) for role in ROLES)
        note = "# Written by 'portaldb dev start', anew at every start.\n"
        for name, text in (
            ("conf.d/10-spec.conf", note + spec),
            ("conf.d/20-fitted.conf", note + "\n".join(lines) + "\n"),
            ("conf.d/30-listen.conf", note + "\n".join(where) + "\n"),
            ("pg_ident.conf", note + ident),
        ):
            _write(self.data / name, text, self.uid, gid)

    def _rotate_log(self) -> int:
        """Set a long log aside, and return how long the present one is."""
        with contextlib.suppress(FileNotFoundError):
            if (size := self.log.stat().st_size) < KEPT_LOG_BYTES:
                return size
            self.log.replace(self.log.with_suffix(".log.1"))
        return 0

    def _log_since(self, position: int) -> str:
        with contextlib.suppress(OSError), self.log.open("rb") as log:
            log.seek(position)
            return log.read().decode(errors="replace")
        return ""


_HBA = """\
# Over the socket the operating system says who one is (pg_ident.conf: which roles that user may be).
# Over the network, on this machine alone, a password. Nothing else gets in.
# TYPE  DATABASE        USER  ADDRESS       METHOD
local   all             all                 peer map=portaldb
host    all             all   127.0.0.1/32  scram-sha-256
local   replication     all                 peer map=portaldb
"""


def _write(path: Path, text: str, uid: int, gid: int) -> None:
    """Write a file for the cluster's user; one that says the same already is left alone."""
    if not path.parent.exists():
        path.parent.mkdir()
        if os.geteuid() == 0:
            os.chown(path.parent, uid, gid)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
        path.chmod(0o600)
        if os.geteuid() == 0:
            os.chown(path, uid, gid)


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")


def _has_locale(name: str) -> bool:
    """Say whether a locale is installed, by the C library's own word."""
    import locale

    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, name)
    except locale.Error:
        return False
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    return True


def _checkout_owner() -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(layout.sql_root().stat().st_uid).pw_name
    return "root"


def _pid_lines(data: Path) -> list[str]:
    """Return the lines of postmaster.pid, stripped; none when there is no such file."""
    try:
        return [line.strip() for line in (data / "postmaster.pid").read_text().splitlines()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _server_pid(data: Path) -> int | None:
    lines = _pid_lines(data)
    if not lines or not lines[0].isdigit():
        return None
    pid = int(lines[0])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it lives, and is another user's
    # A server works in its data folder: a process that does not is one that got the number of a dead server.
    try:
        return pid if Path(f"/proc/{pid}/cwd").samefile(data) else None
    except PermissionError:
        return pid
    except OSError:
        return None if Path("/proc/self").exists() else pid


def _port_is_free(port: int) -> bool:
    with sockets.socket() as probe:
        probe.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    """Return a port nobody has: one of PORTS, at a place that differs by process, else any."""
    start = os.getpid() % len(PORTS)
    for port in (*PORTS[start:], *PORTS[:start]):
        if _port_is_free(port):
            return port
    with sockets.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _socket_folder(base: Path, uid: int) -> Path:
    """Return the socket's folder: in the cluster's own, or under /tmp where that path is too long for a socket."""
    if len(os.fsencode(base / "run" / ".s.PGSQL.65535")) <= SOCKET_PATH_BYTES:
        return base / "run"
    return Path(tempfile.gettempdir()) / f"portaldb-{uid}-{_hash(base)}"


def _hash(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def _make_socket_folder(folder: Path, uid: int, gid: int) -> None:
    """Make the socket's folder; one that somebody else put there is refused (they could pose as the server)."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o755)
        if os.geteuid() == 0:
            os.chown(folder, uid, gid)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o022:
        raise RefusedError(
            f"The folder for the server's socket, {folder}, was there already and is not the cluster's user's alone: "
            "whoever made it could pose as the server. Remove it, and run the same command again."
        )


# The cluster of this checkout ----------------------------------------------------------------------------------


def checkout() -> Path:
    """Return the folder of the checkout; raise UsageError when this is an installed package."""
    if not layout.in_checkout():
        raise UsageError(
            "'portaldb dev' runs the private cluster of a checkout, and this is an installed package. Run it from a "
            "clone of the repository, or point DATABASE_URL at a server."
        )
    return layout.sql_root()


def home(root: Path | None = None) -> Path:
    """Return the git-ignored folder of a checkout that holds its private cluster and what is known of it."""
    return (root or checkout()) / ".portaldb"


def find(root: Path | None = None) -> Cluster | None:
    """Return the cluster of a checkout, None when none was made. Reads one small file; starts nothing."""
    folder = home(root)
    try:
        state = json.loads((folder / "cluster.json").read_text())
        base = Path(state["base"]) if state["base"] else folder / "pg"
        socket = Path(state["socket"]) if state["socket"] else base / "run"
        found = Cluster(base, socket, int(state["port"]), Path(state["programs"]), int(state["uid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def default_url(dbname: str = DATABASE) -> str | None:
    """Return the URL of this checkout's running private cluster, None when there is none. Costs one small read."""
    if not layout.in_checkout():
        return None
    cluster = find(layout.sql_root())
    if cluster is None or not (cluster.socket / f".s.PGSQL.{cluster.port}").exists():
        return None
    with contextlib.suppress(PermissionError):  # another user's cluster: its socket is there, which must do
        if cluster.pid() is None:
            return None
    return cluster.url(dbname)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a checkout's cluster to oneself; the lock goes with the process, so that a killed one leaves none."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remember(folder: Path, cluster: Cluster) -> None:
    """Write what `find` reads: whole or not at all; a path inside the checkout is left out, so that it can be moved."""
    base = "" if cluster.base == folder / "pg" else str(cluster.base)
    socket = "" if cluster.socket == cluster.base / "run" else str(cluster.socket)
    state = {
        "port": cluster.port,
        "base": base,
        "socket": socket,
        "programs": str(cluster.programs),
        "uid": cluster.uid,
    }
    fresh = folder / "cluster.json.new"
    fresh.write_text(json.dumps(state) + "\n")
    fresh.chmod(0o644)
    fresh.replace(folder / "cluster.json")


def _place(folder: Path, owner: pwd.struct_passwd, say: Say) -> Path:
    """Return where the cluster's folder goes: in the checkout, or where the user it belongs to cannot reach it, beside."""
    base = folder / "pg"
    if os.geteuid() != 0 or owner.pw_uid == 0:
        return base
    base.mkdir(exist_ok=True)
    os.chown(base, owner.pw_uid, owner.pw_gid)
    reaches = subprocess.run(  # type: ignore[call-overload]
        ["test", "-w", str(base)], cwd="/", check=False, **_as_user(owner.pw_uid)
    )
    fits = len(os.fsencode(base / "run" / ".s.PGSQL.65535")) <= SOCKET_PATH_BYTES
    if reaches.returncode == 0 and fits:
        return base
    base.rmdir()
    other = Path("/var/lib/portaldb") / _hash(folder)
    why = (
        f"the user {owner.pw_name} cannot enter {folder.parent}"
        if fits
        else "a socket's path there is too long"
    )
    say(f"The cluster goes to {other}: {why}.")
    return other


def start(say: Say = _silent) -> Cluster:
    """Start this checkout's cluster, made first if there is none; one that runs is left alone."""
    root = checkout()
    folder = home(root)
    with _locked(folder):
        cluster = find(root)
        if cluster is None or not (cluster.data / "PG_VERSION").exists():
            owner = _owner_for(root)
            base = _place(folder, owner, say)
            if (base / "data" / "PG_VERSION").exists():
                say(f"Found the cluster that was made in {base} before.")
                major = int((base / "data" / "PG_VERSION").read_text())
                uid = base.stat().st_uid
                cluster = Cluster(base, _socket_folder(base, uid), _free_port(), find_programs(major), uid)
            else:
                cluster = Cluster.create(base, owner, say)
        elif cluster.pid() is None and not (cluster.programs / "pg_ctl").exists():
            cluster = replace(cluster, programs=find_programs(cluster.version()))
        # Before the start, too: a start that is killed leaves a server that `find` must know
        _remember(folder, cluster)
        cluster = cluster.start(say)
        _remember(folder, cluster)
    return cluster


def require(*, running: bool = True) -> Cluster:
    """Return this checkout's cluster; raise ConnectError when there is none, or it does not run and should."""
    cluster = find()
    if cluster is None:
        raise ConnectError(
            "This checkout has no private cluster yet. Make and start it with: portaldb dev start"
        )
    if running and cluster.pid() is None:
        raise ConnectError(
            "The private cluster of this checkout is not running. Start it with: portaldb dev start"
        )
    return cluster


def stop() -> bool:
    """Stop this checkout's cluster; return False when it did not run."""
    with _locked(home()):
        cluster = find()
        return cluster is not None and cluster.stop()


def reset(say: Say = _silent) -> Cluster:
    """Remove this checkout's cluster with everything in it, and start a new, empty one."""
    folder = home()
    with _locked(folder):
        if cluster := find():
            cluster.destroy()
            (folder / "cluster.json").unlink(missing_ok=True)
    return start(say)
