"""A private PostgreSQL cluster: the one of this checkout under .portaldb/, or a throwaway one for tests.

It never touches a cluster of the system. PostgreSQL refuses to run as root, so root hands the work to the user
whom the cluster's folder belongs to. Logins come over the unix socket (peer, with a map that lets root, the
cluster's user and the checkout's owner be any role of ROLES) or over 127.0.0.1 (scram-sha-256 alone).
"""

import contextlib
import fcntl
import hashlib
import json
import os
import pwd
import shutil
import socket as sockets
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
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
from portaldb.machine import fit, settings_of, this_machine, told
from portaldb.programs import find_programs, identity, run

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

LOCALE = "en_US.utf8"
PORTS = range(54320, 54420)
SOCKET_PATH_BYTES = 107
"""The longest path of a socket: sockaddr_un.sun_path is 108 bytes, the last of them NUL."""

_START_SECONDS = 60
_KEPT_LOG_BYTES = 10 * 2**20
_LONG_AGO = 0

Say = Callable[[str], None]
"""Takes what a person should know while the work goes on, a sentence at a time."""


def _silent(_sentence: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Cluster:
    """A cluster on disk: its folder (data, log), its socket's folder, its port, the programs that run it."""

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

    def pid(self) -> int | None:
        """Return the server's process, None when it does not run."""
        return _server_pid(self.data)

    def running(self) -> bool:
        """Say whether the server runs and lets logins in."""
        return self.pid() is not None and _pid_lines(self.data)[7:8] == ["ready"]

    def major(self) -> int:
        """Return the major version that made the cluster."""
        return int((self.data / "PG_VERSION").read_text())

    @classmethod
    def create(cls, base: Path, owner: pwd.struct_passwd, say: Say = _silent, *, throwaway: bool = False) -> "Cluster":
        """Make a cluster in `base` for `owner`; what an interrupted attempt left there is replaced."""
        programs = find_programs()
        uid, gid = owner.pw_uid, owner.pw_gid
        base.mkdir(parents=True, exist_ok=True)
        _give(base, uid, gid)
        # A name of its own: the initdb of an attempt that was killed may still be at work in its folder.
        for left in base.glob("new.*"):
            shutil.rmtree(left, ignore_errors=True)
        fresh = base / f"new.{os.getpid()}"
        locale = LOCALE if _has_locale(LOCALE) else "C.UTF-8"
        if locale != LOCALE:
            say(
                f"The locale {LOCALE} is not installed, so 'portaldb init' cannot make {DATABASE} in this cluster. "
                "On Debian: apt-get install locales && localedef -i en_US -f UTF-8 en_US.UTF-8; then "
                "'portaldb dev stop' and 'portaldb dev start'."
            )
        run(
            "Making the cluster (initdb)",
            *(programs / "initdb", "-D", fresh, "-U", SUPERUSER, "-E", "UTF8", f"--locale={locale}"),
            *("--lc-messages=C", "--data-checksums", "--auth-local=peer", "--auth-host=scram-sha-256"),
            *(["--no-sync"] if throwaway else []),
            uid=uid,
        )
        with (fresh / "postgresql.conf").open("a") as conf:
            conf.write("\n# deploy/postgresql.conf, what of it was lowered, and where this server listens\n")
            conf.write("include_dir = 'conf.d'\n")
        _write(fresh / "conf.d/90-yours.conf", "# Your settings: kept as they are, and read last.\n", uid, gid)
        _write(fresh / "pg_hba.conf", _HBA, uid, gid)  # initdb's know no map
        fresh.rename(base / "data")
        return cls(base, _socket_folder(base, uid), free_port(), programs, uid, throwaway)

    @classmethod
    def create_throwaway(cls, say: Say = _silent, *, durable: bool = False) -> "Cluster":
        """Make and start a cluster that is quick because it survives no crash; `destroy` it when done.

        With `durable` it keeps what it commits and has the settings of a real one, as a benchmark needs it.
        """
        base = Path(tempfile.mkdtemp(prefix="portaldb-"))
        base.chmod(0o755)
        try:
            return cls.create(base, _owner_for(base), say, throwaway=not durable).start(say)
        except BaseException:
            shutil.rmtree(base, ignore_errors=True)
            raise

    def start(self, say: Say = _silent) -> "Cluster":
        """Start the server, wait until it lets logins in, and return the cluster as it is then.

        A server that runs is left alone. What a crash left (postmaster.pid, a socket's lock) is removed, for its
        process number may be another program's by now; a port that was taken meanwhile is replaced.
        """
        self._check_rights("start")
        if self.pid() is not None:
            self._wait_ready()
            return self
        if _pid_lines(self.data):
            for left in (self.data / "postmaster.pid", *self.socket.glob(".s.PGSQL.*")):
                left.unlink(missing_ok=True)
        cluster = self
        for _attempt in range(3):
            if not _is_free(cluster.port):
                taken, cluster = cluster.port, replace(cluster, port=free_port())
                say(f"Port {taken} was taken by another program: the cluster has port {cluster.port} now.")
            cluster._configure(say)
            before = cluster._rotate_log()
            try:
                cluster._pg_ctl("Starting PostgreSQL", "-l", cluster.log, "start")
            except PortalError as error:
                if cluster.pid() is not None:  # a start that was killed came to its end meanwhile
                    cluster._wait_ready()
                    return cluster
                if "Address already in use" in cluster._log_since(before):
                    continue
                raise PortalError(
                    f"{error}\n{cluster._tail(before)}\nMend what the log names and run the same command again, or "
                    "make a new, empty cluster with 'portaldb dev reset'."
                ) from None
            return cluster
        raise PortalError(
            f"Starting PostgreSQL failed: three ports in a row (the last was {cluster.port}) were taken by other "
            "programs between the choice and the start. Run the same command again."
        )

    def stop(self, *, fast: bool = True) -> bool:
        """Stop the server and wait until it is gone; return False when it did not run."""
        if self.pid() is None:
            return False
        self._check_rights("stop")
        self._pg_ctl("Stopping PostgreSQL", "-m", "fast" if fast else "immediate", "stop")
        return True

    def destroy(self) -> None:
        """Stop the server and remove the cluster with everything in it."""
        self._check_rights("remove")
        self.stop(fast=False)
        shutil.rmtree(self.socket, ignore_errors=True)
        shutil.rmtree(self.base, ignore_errors=True)

    def _pg_ctl(self, doing: str, *argv: str | Path) -> None:
        waiting = ("-D", self.data, "-w", "-s", "-t", str(_START_SECONDS))
        run(doing, self.programs / "pg_ctl", *waiting, *argv, uid=self.uid, seconds=_START_SECONDS + 10)

    def _check_rights(self, verb: str) -> None:
        if os.geteuid() not in (0, self.uid):
            name = pwd.getpwuid(self.uid).pw_name
            raise RightsError(
                f"The private cluster in {self.base} belongs to the user {name}: only {name} and root can {verb} "
                f"it. Run the same command as {name}, or with sudo."
            )

    def _wait_ready(self) -> None:
        """Wait for a server that is starting, whoever started it."""
        deadline = time.monotonic() + _START_SECONDS
        while not self.running():
            if self.pid() is None or time.monotonic() > deadline:
                raise PortalError(
                    f"PostgreSQL was starting and did not get ready.\n{self._tail(_LONG_AGO)}\nRun the same command "
                    "again."
                )
            time.sleep(0.05)

    def _configure(self, say: Say) -> None:
        """Write the server's settings anew: deploy/postgresql.conf may have changed, and so may the machine."""
        gid = pwd.getpwuid(self.uid).pw_gid
        _make_socket_folder(self.socket, self.uid, gid)
        spec = (layout.sql_root() / "deploy/postgresql.conf").read_text()
        if self.throwaway:
            fitted = _THROWAWAY
        else:
            lowered = fit(settings_of(spec), this_machine(self.base))
            fitted = "".join(f"{one.name} = {one.fits}  # not {one.asked}: {one.why}\n" for one in lowered)
            if lowered:
                say(told(lowered))
        listen = _LISTEN.format(port=self.port, folder=str(self.socket).replace("'", "''"))
        users = {"root", pwd.getpwuid(self.uid).pw_name, _name_of(layout.sql_root().stat().st_uid)}
        ident = "".join(f'portaldb  "{user}"  "{role}"\n' for user in sorted(users) for role in ROLES)
        for name, text in (
            ("conf.d/10-spec.conf", spec),
            ("conf.d/20-fitted.conf", fitted),
            ("conf.d/30-listen.conf", listen),
            ("pg_ident.conf", ident),
        ):
            _write(self.data / name, f"# Written anew at every start.\n{text}", self.uid, gid)

    def _rotate_log(self) -> int:
        """Set a long log aside, and return how long the present one is."""
        with contextlib.suppress(FileNotFoundError):
            if (size := self.log.stat().st_size) < _KEPT_LOG_BYTES:
                return size
            self.log.replace(self.log.with_suffix(".log.1"))
        return 0

    def _log_since(self, position: int) -> str:
        with contextlib.suppress(OSError), self.log.open("rb") as log:
            log.seek(position)
            return log.read().decode(errors="replace")
        return ""

    def _tail(self, position: int) -> str:
        lines = self._log_since(position).strip().splitlines()[-15:] or ["it is empty"]
        return f"The end of the server's log, {self.log}:\n  " + "\n  ".join(lines)


_HBA = """\
# Over the socket, the operating system says who one is, and pg_ident.conf which roles that user may be.
# Over the network, from this machine alone, with a password. Nobody else gets in.
# TYPE  DATABASE     USER  ADDRESS       METHOD
local   all          all                 peer map=portaldb
local   replication  all                 peer map=portaldb
host    all          all   127.0.0.1/32  scram-sha-256
"""

_LISTEN = """\
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
unix_socket_permissions = 0777  # who may log in is pg_hba.conf's to say
"""

_THROWAWAY = """\
fsync = off
full_page_writes = off
synchronous_commit = off
shared_buffers = 128MB
min_wal_size = 80MB
max_connections = 200
"""


def _give(path: Path, uid: int, gid: int) -> None:
    """Give a file that root made to the user it is for."""
    if os.geteuid() == 0:
        os.chown(path, uid, gid)


def _write(path: Path, text: str, uid: int, gid: int) -> None:
    """Write a file for the cluster's user alone."""
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700)
        _give(path.parent, uid, gid)
    path.write_text(text)
    path.chmod(0o600)
    _give(path, uid, gid)


def _has_locale(name: str) -> bool:
    """Say whether a locale is installed, by the C library's word."""
    import locale

    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, name)
    except locale.Error:
        return False
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    return True


def _owner_for(folder: Path) -> pwd.struct_passwd:
    """Return whom a new cluster belongs to: who runs this; for root, the folder's owner, or else postgres."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    with contextlib.suppress(KeyError):
        if owner := folder.stat().st_uid:
            return pwd.getpwuid(owner)
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        raise EnvironmentMissingError(
            "PostgreSQL refuses to run as root, and this machine has no 'postgres' user to run it as. Install "
            "PostgreSQL's packages, which make that user (scripts/up does), or run this as another user."
        ) from None


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "root"


def _pid_lines(data: Path) -> list[str]:
    """Return the lines of postmaster.pid, none when there is no such file."""
    try:
        return [line.strip() for line in (data / "postmaster.pid").read_text().splitlines()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _server_pid(data: Path) -> int | None:
    """Return the live process that postmaster.pid names, unless that number is another program's by now."""
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
    try:
        # A server works in its data folder.
        return pid if Path(f"/proc/{pid}/cwd").samefile(data) else None
    except PermissionError:
        return pid
    except OSError:
        return None if Path("/proc/self").exists() else pid


def _is_free(port: int) -> bool:
    with sockets.socket() as probe:
        # As the server itself does: a connection that is being closed does not keep the port
        probe.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a free port of PORTS, beginning where another process hardly does, or else any that is free."""
    first = os.getpid() % len(PORTS)
    tried: list[int] = [*PORTS[first:], *PORTS[:first]]
    for port in tried:
        if _is_free(port):
            return port
    with sockets.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _fits_socket(base: Path) -> bool:
    return len(os.fsencode(base / "run/.s.PGSQL.65535")) <= SOCKET_PATH_BYTES


def _socket_folder(base: Path, uid: int) -> Path:
    """Return the socket's folder: in the cluster's, or beside all others where that path would be too long."""
    return base / "run" if _fits_socket(base) else Path(f"/tmp/portaldb-{uid}-{path_hash(base)}")  # noqa: S108 - see below


def _make_socket_folder(folder: Path, uid: int, gid: int) -> None:
    """Make the socket's folder; one that somebody else made is refused, for they could pose as the server."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o755)
        _give(folder, uid, gid)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != uid or found.st_mode & 0o022:
        raise RefusedError(
            f"The folder for the server's socket, {folder}, is there already and others than the cluster's user can "
            "write to it, who could pose as the server. Remove it, and run the same command again."
        )


def path_hash(path: Path) -> str:
    """Return a short name for a path."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


# The cluster of this checkout -----------------------------------------------------------------------------


def home() -> Path:
    """Return the git-ignored folder of the checkout; raise UsageError when this is an installed package."""
    if not layout.in_checkout():
        raise UsageError(
            "'portaldb dev' runs the private cluster of a checkout, and this is an installed package. Run it in a "
            "clone of the repository, or point DATABASE_URL at a server."
        )
    return layout.sql_root() / ".portaldb"


def read_state() -> dict[str, Any]:
    """Return what is remembered of the checkout's PostgreSQL: nothing, a cluster, or a container's port."""
    try:
        state = json.loads((home() / "cluster.json").read_text())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def write_state(state: Mapping[str, Any]) -> None:
    """Remember that, whole or not at all."""
    folder = home()
    owner = folder.parent.stat()
    fresh = folder / "cluster.json.new"
    fresh.write_text(json.dumps(state) + "\n")
    fresh.chmod(0o644)
    _give(fresh, owner.st_uid, owner.st_gid)
    fresh.replace(folder / "cluster.json")


def find() -> Cluster | None:
    """Return the checkout's cluster, None when none was made. Reads one small file and starts nothing."""
    folder, state = home(), read_state()
    try:
        base = Path(state["base"] or folder / "pg")
        socket = Path(state["socket"] or base / "run")
        return Cluster(base, socket, int(state["port"]), Path(state["programs"]), int(state["uid"]))
    except (ValueError, KeyError, TypeError):
        return None


def default_url(dbname: str = DATABASE) -> str | None:
    """Return the URL of the checkout's running PostgreSQL, None when there is none. Costs one small read."""
    if not layout.in_checkout():
        return None
    if port := read_state().get("container_port"):
        return container_url(int(port), dbname)
    cluster = find()
    if cluster is None or not (cluster.socket / f".s.PGSQL.{cluster.port}").exists():
        return None
    with contextlib.suppress(PermissionError):  # another user's cluster: that its socket is there must do
        if cluster.pid() is None:
            return None
    return cluster.url(dbname)


def container_url(port: int, dbname: str = DATABASE, user: str = SUPERUSER) -> str:
    """Return the URL of a database in the checkout's container; it names the file that holds the password."""
    passfile = quote(str(home() / "pgpass"), safe="")
    return f"postgresql://{quote(user, safe='')}@127.0.0.1:{port}/{quote(dbname, safe='')}?passfile={passfile}"


def require() -> Cluster:
    """Return the checkout's running cluster; raise ConnectError when there is none."""
    cluster = find()
    if cluster is None or cluster.pid() is None:
        state = "has no private cluster yet" if cluster is None else "has a private cluster that is not running"
        raise ConnectError(f"This checkout {state}. Start it with: portaldb dev start")
    return cluster


def start(say: Say = _silent) -> Cluster:
    """Start the checkout's cluster, made first if there is none; one that runs is left alone."""
    folder = home()
    with locked():
        cluster = find()
        if cluster is None or not (cluster.data / "PG_VERSION").exists():
            cluster = _make(folder, say)
        elif cluster.pid() is None and not (cluster.programs / "pg_ctl").exists():
            cluster = replace(cluster, programs=find_programs(cluster.major()))
        # Before the start as well: one that is killed leaves a server behind, which `find` must know
        _remember(folder, cluster)
        cluster = cluster.start(say)
        _remember(folder, cluster)
    return cluster


def stop() -> bool:
    """Stop the checkout's cluster; return False when it did not run."""
    with locked():
        cluster = find()
        return cluster is not None and cluster.stop()


def reset(say: Say = _silent) -> Cluster:
    """Remove the checkout's cluster with everything in it, and start a new, empty one."""
    folder = home()
    with locked():
        if cluster := find():
            cluster.destroy()
            (folder / "cluster.json").unlink(missing_ok=True)
    return start(say)


def _make(folder: Path, say: Say) -> Cluster:
    """Make the checkout's cluster, or take up the one that is there though nothing is remembered of it."""
    owner = _owner_for(folder.parent)
    base = _place(folder, owner, say)
    if not (base / "data/PG_VERSION").exists():
        return Cluster.create(base, owner, say)
    say(f"Found a cluster that was made before in {base}.")
    uid = base.stat().st_uid
    programs = find_programs(int((base / "data/PG_VERSION").read_text()))
    return Cluster(base, _socket_folder(base, uid), free_port(), programs, uid)


def _place(folder: Path, owner: pwd.struct_passwd, say: Say) -> Path:
    """Return where the cluster goes: into the checkout, or elsewhere when its user cannot get in there."""
    base = folder / "pg"
    if os.geteuid() != 0:
        return base
    base.mkdir(exist_ok=True)
    _give(base, owner.pw_uid, owner.pw_gid)
    inside = subprocess.run(["test", "-w", base], cwd="/", check=False, **identity(owner.pw_uid)).returncode == 0
    if inside and _fits_socket(base):
        return base
    with contextlib.suppress(OSError):
        base.rmdir()
    other = Path("/var/lib/portaldb", path_hash(folder))
    if inside:
        say(f"The cluster lies in {other}: the path of a socket in the checkout would be too long.")
    else:
        say(f"The cluster lies in {other}: the user {owner.pw_name}, who runs it, cannot enter {folder.parent}.")
    return other


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Keep others off the checkout's PostgreSQL; the lock goes with the process, so a killed one leaves none."""
    folder = home()
    owner = folder.parent.stat()
    folder.mkdir(exist_ok=True)
    _give(folder, owner.st_uid, owner.st_gid)
    with (folder / "lock").open("w") as lock:
        _give(folder / "lock", owner.st_uid, owner.st_gid)
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remember(folder: Path, cluster: Cluster) -> None:
    """Remember a cluster; paths in the checkout are left out, so that it can move."""
    write_state(
        {
            "port": cluster.port,
            "base": "" if cluster.base == folder / "pg" else str(cluster.base),
            "socket": "" if cluster.socket == cluster.base / "run" else str(cluster.socket),
            "programs": str(cluster.programs),
            "uid": cluster.uid,
        }
    )
