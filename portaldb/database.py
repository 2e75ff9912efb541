"""Connections: which server, how a failure to reach it reads, and whether a pooler stands in between."""

import os
import re
import time
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import conninfo
from psycopg.rows import dict_row

from portaldb.errors import ConnectError, PortalError, RefusedError, RightsError, UsageError
from portaldb.queries import load

OWNER = "mcp_admin"
"""The role that owns every object (the spec's)."""

MINIMUM_VERSION = 150000
"""PostgreSQL 15: views with security_invoker, MERGE, and a public schema that belongs to the database's owner."""

Connection = psycopg.Connection[dict[str, Any]]

_STARTING = re.compile(r"starting up|shutting down|not yet accepting|in recovery mode|refused|No such file", re.I)
_HINTS = (
    (
        r"password authentication failed|no password supplied",
        "Check the login and its password (PGPASSWORD, ~/.pgpass).",
    ),
    (
        r"no pg_hba.conf entry|Peer authentication|Ident authentication",
        "The server's pg_hba.conf does not let this login in from here.",
    ),
    (r'database ".*" does not exist', "Run `portaldb init` to create it, or correct the name."),
    (r'role ".*" does not exist', "Correct the login's name, or run `portaldb init` as a superuser to make our roles."),
    (
        r"too many (clients|connections)|remaining connection slots",
        "Try again when sessions have ended, or raise the limit.",
    ),
    (r"could not translate host name|Name or service not known", "Correct the host name."),
    (
        r"No such file|Connection refused",
        "Check that the server runs and that this is its address. `--wait 60` waits for one that is starting; "
        "`portaldb dev start` starts the private one.",
    ),
    (r"timeout", "The address does not answer: check the host, the port and the firewall."),
    (r"permission denied for database", "The login has no CONNECT on this database: grant it one of the portal roles."),
)


@dataclass(frozen=True)
class Facts:
    """What a connection found: the server, the database, and who is asking."""

    pid: int
    version: int
    database: str
    login: str
    standby: bool
    owner: str
    initialised: bool
    may_be_owner: bool
    missing_extensions: list[str]


def has_password(url: str) -> bool:
    """Say whether a connection string holds a password; raise UsageError where it is not one."""
    return "password" in _parse(url)


def _parse(url: str) -> dict[str, Any]:
    try:
        return dict(conninfo.conninfo_to_dict(url))
    except psycopg.ProgrammingError as error:
        # libpq quotes the string it could not read, which may hold a password.
        reason = re.sub(r'"[^"]*"', "…", str(error)).strip()
        raise UsageError(
            f"the connection string cannot be read: {reason}. It has the form "
            "postgresql://user@host:port/database, or libpq's 'host=… dbname=…'."
        ) from None


def resolve(url: str | None) -> str:
    """Choose the server: what is given, else libpq's PG* variables, else the checkout's private cluster."""
    if url:
        _parse(url)
        return url
    if any(os.environ.get(name) for name in ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGSERVICE", "PGUSER")):
        return ""
    from portaldb import cluster

    return cluster.default_url() or ""


def with_database(url: str, name: str) -> str:
    """Return the same connection string for another database of the server."""
    return conninfo.make_conninfo(url, dbname=name)


def database_name(url: str) -> str:
    """Return the name of the database that a connection string leads to, as libpq would choose it."""
    parts = _parse(url)
    return str(parts.get("dbname") or os.environ.get("PGDATABASE") or "mcp_portal")


def describe(url: str) -> str:
    """Name the server and the database for a message; never a password."""
    parts = _parse(url)
    host = parts.get("host") or parts.get("hostaddr") or os.environ.get("PGHOST") or "the local socket"
    port = parts.get("port") or os.environ.get("PGPORT") or "5432"
    return f"{parts.get('dbname') or os.environ.get('PGDATABASE') or 'the default database'} on {host}, port {port}"


def connect(url: str, *, wait: float = 0, name: str = "portaldb") -> Connection:
    """Open a connection in autocommit, trying for `wait` seconds while the server is starting.

    Raises ConnectError with the server's own words and what to do.
    """
    until = time.monotonic() + wait
    while True:
        try:
            return psycopg.connect(
                url,
                autocommit=True,
                row_factory=dict_row,
                # A prepared statement outlives its plan's objects in a migration, and poolers lose it.
                prepare_threshold=None,
                application_name=name,
                fallback_application_name=name,
                connect_timeout=_parse(url).get("connect_timeout") or os.environ.get("PGCONNECT_TIMEOUT") or 10,
            )
        except psycopg.OperationalError as error:
            text = str(error)
            if _STARTING.search(text) and time.monotonic() < until:
                time.sleep(0.25)
                continue
            raise ConnectError(_explain(url, text)) from None


def _explain(url: str, text: str) -> str:
    # libpq adds a question of its own, and the addresses it tried; ours says what to type.
    said = re.sub(r"^connection (failed|is bad): ", "", " ".join(text.split()))
    said = re.sub(r" (Is the server running|Multiple connection attempts).*", "", said)
    hint = next((hint for pattern, hint in _HINTS if re.search(pattern, said, re.I)), "See the server's log for more.")
    return f"Could not connect to {describe(url)}. The answer: {said.rstrip('.')}. {hint}"


def facts(connection: Connection) -> Facts:
    """Ask the server who and what it is, in one round trip."""
    row = connection.execute(query("session", "facts")).fetchone()
    assert row is not None  # noqa: S101 - current_database() is always in pg_database
    return Facts(**row)


def require_owner(found: Facts) -> None:
    """Raise where this database cannot take our migrations from this login, naming what is missing."""
    if found.version < MINIMUM_VERSION:
        raise RefusedError(
            f"The server is PostgreSQL {found.version // 10000}; these migrations need "
            f"{MINIMUM_VERSION // 10000} or newer."
        )
    if found.standby:
        raise RefusedError(f"{found.database} is a standby and cannot be written. Connect to the primary.")
    if not found.initialised:
        raise RefusedError(f"The role {OWNER} does not exist on this server. Run `portaldb init` as a superuser first.")
    if found.owner != OWNER:
        raise RefusedError(
            f"The database {found.database} belongs to {found.owner} and not to {OWNER}. "
            "Run `portaldb init` for it as a superuser first."
        )
    if not found.may_be_owner:
        raise RightsError(
            f"The login {found.login} is not a member of {OWNER}, which applies migrations. Connect as {OWNER} or a "
            f"superuser, or let one run: GRANT {OWNER} TO {found.login};"
        )
    if found.missing_extensions:
        raise RefusedError(
            f"The extension {' and '.join(found.missing_extensions)} is not in {found.database}. Run `portaldb init` "
            "(the server needs the postgresql-contrib package)."
        )


def require_direct(connection: Connection, url: str) -> None:
    """Raise RefusedError where a transaction pooler stands between us and the server.

    There an advisory lock and SET ROLE would reach the next client. A pooler answers a connection with a process
    number of its own, so a direct connection is known at once; behind a pooler, a second client tells a session
    pool, where each keeps its backend, from a transaction pool, where the second is given the first one's.
    """
    mine = _backend(connection)
    if mine == connection.info.backend_pid:
        return
    with connect(url, name="portaldb: looking for a pooler") as other:
        shared = False
        for _ in range(3):
            # One after the other: in a pool of one, a transaction left open would keep the second from answering.
            shared = shared or _backend(other) == mine or _backend(connection) != mine
        if not shared:
            return
    raise RefusedError(
        f"The connection to {describe(url)} goes through a pooler in transaction mode, where a lock or a role would "
        "reach another client. Nothing was changed. Connect to the server itself, or to a session pool."
    )


def _backend(connection: Connection) -> int:
    row = connection.execute(query("session", "backend")).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    return int(row["pid"])


def query(stem: str, name: str) -> LiteralString:
    """Return a query of portaldb/queries; they are ours, not a user's, so psycopg takes them as literal."""
    return load(stem)[name]


def server_error(error: psycopg.Error, doing: str) -> PortalError:
    """Turn a server's error into a message: what was being done, what it said, what to do next.

    Only the primary message is kept: DETAIL may quote rows.
    """
    said = error.diag.message_primary or " ".join(str(error).split())
    state = f" ({error.sqlstate})" if error.sqlstate else ""
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return RightsError(
            f"While {doing}, the server refused: {said}{state}. Connect as a login with the rights, or ask for them."
        )
    if error.sqlstate is None or isinstance(error, psycopg.errors.AdminShutdown | psycopg.errors.CrashShutdown):
        return ConnectError(
            f"The connection was lost while {doing}: {said}{state}. What was not committed was rolled back; "
            "look with `portaldb status`, then run the same command again."
        )
    return PortalError(f"While {doing}, the server said: {said}{state}.{_server_hint(error)}")


def _server_hint(error: psycopg.Error) -> str:
    if isinstance(error, psycopg.errors.DiskFull):
        return " The server's disk is full: free space, then run the same command again; nothing is half done."
    if error.diag.message_hint:
        return f" Its hint: {error.diag.message_hint}"
    return ""
