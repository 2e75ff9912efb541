"""Connections: which server, how a failure to reach it reads, and whether a pooler stands in between."""

import logging
import os
import re
import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import conninfo
from psycopg.rows import dict_row

from portaldb.errors import ConnectError, PortalError, RefusedError, RightsError, UsageError
from portaldb.queries import load

OWNER = "mcp_admin"
"""The role that owns every object (the spec's)."""

DATABASE = "mcp_portal"
"""The database where a connection string names none (the spec's)."""

MINIMUM_VERSION = 150000
"""PostgreSQL 15: views with security_invoker, MERGE, and a public schema that belongs to the database's owner."""

Connection = psycopg.Connection[dict[str, Any]]

_SECRETS = ("password", "sslpassword", "oauth_client_secret")
_POOLER_SECONDS = 5

# What the driver logs of a lost connection is on its way as an exception, and told once.
logging.getLogger("psycopg").setLevel(logging.ERROR)

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
    return any(secret in _parse(url) for secret in _SECRETS)


def _parse(url: str) -> dict[str, Any]:
    try:
        parts = dict(conninfo.conninfo_to_dict(url))
    except psycopg.ProgrammingError as error:
        # libpq quotes the string it could not read, which may hold a password.
        reason = re.sub(r'".*"', "…", str(error), flags=re.DOTALL).strip()
        raise UsageError(
            f"the connection string cannot be read: {reason}. It has the form "
            "postgresql://user@host:port/database, or libpq's 'host=… dbname=…'."
        ) from None
    # `user:pa@ss@host` and `user:pa/ss@host` are read with a piece of the password as host, port or database.
    _scheme, is_url, rest = url.partition("://")
    before, at, after = rest.partition("?")[0].partition("@")
    if is_url and (("/" in before and at) or "@" in after or re.search(r"[^\d,]", str(parts.get("port", "")))):
        raise UsageError(
            "the connection string cannot be read: it has an '@' or a '/' too many, or a port that is no number. "
            "In a password or a name, write %40 for '@' and %2F for '/'."
        )
    return parts


def resolve(url: str | None) -> str:
    """Choose the server: what is given, else libpq's PG* variables, else the checkout's private cluster."""
    if not url and not any(os.environ.get(f"PG{name}") for name in _PG_VARIABLES):
        from portaldb import cluster

        url = cluster.default_url()
    return with_database(url or "", database_name(url or ""))


_PG_VARIABLES = ("HOST", "HOSTADDR", "PORT", "DATABASE", "SERVICE", "USER")


def with_database(url: str, name: str) -> str:
    """Return the same connection string for another database of the server."""
    _parse(url)
    return conninfo.make_conninfo(url, dbname=name)


def database_name(url: str) -> str:
    """Return the database that a connection string, a service file or PGDATABASE names, else the spec's."""
    parts = _parse(url)
    return str(parts.get("dbname") or _service_defaults(parts.get("service")).get("dbname") or DATABASE)


def _service_defaults(service: str | None) -> dict[str, str]:
    """Return libpq's defaults: PG* variables, and what the service file says of a service."""
    before = os.environ.get("PGSERVICE")
    if service:
        os.environ["PGSERVICE"] = service
    try:
        known = psycopg.pq.Conninfo.get_defaults()
    finally:
        if service:
            os.environ.pop("PGSERVICE")
        if before:
            os.environ["PGSERVICE"] = before
    return {option.keyword.decode(): option.val.decode() for option in known if option.val}


def describe(url: str) -> str:
    """Name the server and the database for a message; never a password."""
    parts = _parse(url)
    parts = _service_defaults(parts.get("service")) | {key: str(value) for key, value in parts.items() if value}
    host = parts.get("host") or parts.get("hostaddr") or "the local socket"
    return f"{parts.get('dbname') or DATABASE} on {host}, port {parts.get('port') or '5432'}"


def connect(url: str, *, wait: float = 0, name: str = "portaldb") -> Connection:
    """Open a connection in autocommit, trying for `wait` seconds while the server is starting.

    Raises ConnectError with the server's own words and what to do; RightsError where the login may not CONNECT.
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
                # Our files are UTF-8, whatever PGCLIENTENCODING says.
                client_encoding="UTF8",
                connect_timeout=_parse(url).get("connect_timeout") or os.environ.get("PGCONNECT_TIMEOUT") or 10,
            )
        except psycopg.OperationalError as error:
            text = str(error)
            if _STARTING.search(text) and time.monotonic() < until:
                time.sleep(0.25)
                continue
            kind = RightsError if "permission denied for database" in text else ConnectError
            raise kind(_explain(url, text)) from None


@contextmanager
def reading(connection: Connection, *, role: str | None = None) -> Iterator[None]:
    """Look in one read-only transaction, with one snapshot; as a role, where one is given, and not as the login.

    A setting of the session would do the same, and behind a transaction pooler make the next client read-only.
    """
    connection.read_only = True
    connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    try:
        with translated("looking at the database"), connection.transaction():
            if role:
                connection.execute(query("session", "become"), {"role": role})
            yield
    finally:
        if not connection.closed:
            connection.read_only = connection.isolation_level = None


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn whatever the server says inside into a message for the person who typed the command."""
    try:
        yield
    except psycopg.Error as error:
        raise server_error(error, doing) from None


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
    # Twice in a row, for a pool that deals its backends in turn.
    shared = _backend(connection) != mine
    with connect(url, name="portaldb: looking for a pooler") as other:
        for _ in range(3):
            # One after the other: in a pool of one, a transaction left open would keep the second from answering.
            shared = shared or _second_backend(other, url) == mine or _backend(connection) != mine
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


def _second_backend(other: Connection, url: str) -> int:
    """Ask a pooled connection for its backend; raise RefusedError where the pool has none to give."""
    other.pgconn.send_query(query("session", "backend").encode())
    if not select.select([other.pgconn.socket], [], [], _POOLER_SECONDS)[0]:
        other.close()
        raise RefusedError(
            f"The connection to {describe(url)} goes through a pooler that gave no second connection within "
            f"{_POOLER_SECONDS} s, so its mode cannot be told. Nothing was changed. Connect to the server itself."
        )
    answer = other.pgconn.get_result()
    while other.pgconn.get_result():
        pass
    value = answer.get_value(0, 0) if answer and answer.ntuples else None
    if value is None:
        raise RefusedError(f"The pooler before {describe(url)} refused a second connection. Nothing was changed.")
    return int(value)


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
    if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
        return RefusedError(
            f"While {doing}, the server refused: {said}{state}. It is a standby, or the login's transactions are "
            "read-only. Connect to the primary (target_session_attrs=primary in a URL that names both)."
        )
    if is_lost(error):
        return ConnectError(
            f"The connection was lost while {doing}: {said}{state}. What was not committed was rolled back; "
            "look with `portaldb status`, then run the same command again."
        )
    return PortalError(f"While {doing}, the server said: {said}{state}.{_server_hint(error)}")


def is_lost(error: psycopg.Error) -> bool:
    """Say whether the connection is gone, rather than a statement refused."""
    return error.sqlstate in _LOST or (isinstance(error, psycopg.OperationalError) and error.sqlstate is None)


_LOST = ("57P01", "57P02", "57P03", "57P05", "25P03", "25P04")
"""The states with which the server ends a session: a shutdown, a crash, a start, or one of its timeouts."""


def _server_hint(error: psycopg.Error) -> str:
    if isinstance(error, psycopg.errors.DiskFull):
        return " The server's disk is full: free space, then run the same command again; nothing is half done."
    if error.diag.message_hint:
        return f" Its hint: {error.diag.message_hint}"
    return ""
