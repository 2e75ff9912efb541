"""PgBouncer before a server, for the benchmarks and the tests."""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from psycopg import conninfo

from portaldb.errors import PortalError
from portaldb.programs import identity

PATIENCE = 60
"""Seconds that it has to listen."""


@contextmanager
def pooling(url: str, *settings: str, databases: Mapping[str, str] | None = None) -> Iterator[str]:
    """Start PgBouncer before the server of a URL for the block, and give the URL through it.

    It logs in as the URL says. `settings` are lines of its file; `databases` names those that it knows, with their
    own settings, and any by default. Raises PortalError where it is missing or does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="pooler-"))
    config = folder / "pgbouncer.ini"
    # It refuses to be root, and the throwaway server's own user is one whom peer lets in.
    user = pwd.getpwnam("postgres") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    parts = conninfo.conninfo_to_dict(url)
    server = " ".join(f"{key}={parts[key]}" for key in ("host", "port", "user", "password") if key in parts)
    lines = [
        "[databases]",
        *(f"{name} = {server} {own}" for name, own in (databases or {"*": ""}).items()),
        "[pgbouncer]",
        # Anybody may come in, for the folder is closed to others.
        *("listen_addr =", "listen_port = 6432", f"unix_socket_dir = {folder}", "auth_type = any"),
        *settings,
    ]
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for path in (folder, config):
        os.chown(path, user.pw_uid, user.pw_gid)
    program = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin")
    try:
        if program is None:
            raise PortalError("PgBouncer is not installed. On Debian: apt-get install pgbouncer")
        with subprocess.Popen(
            [program, "-q", str(config)], stderr=subprocess.DEVNULL, **identity(user.pw_uid)
        ) as process:
            try:
                _wait(process, folder / ".s.PGSQL.6432")
                yield conninfo.make_conninfo(url, host=str(folder), port=6432)
            finally:
                process.terminate()
    finally:
        shutil.rmtree(folder)


def _wait(process: subprocess.Popen[bytes], socket: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not socket.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise PortalError("PgBouncer does not listen. Start it by hand, and it tells why.")
        time.sleep(0.01)
