"""`portaldb doctor`: whether server, database and roles are as they should be, and what to type where they are not.

Any login may ask; what is not shown to it is left out and named.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from portaldb import bootstrap, drift, history, monitor
from portaldb.backup import clients
from portaldb.database import DATABASE, MINIMUM_VERSION, OWNER, Connection, query
from portaldb.errors import EnvironmentMissingError, PortalError
from portaldb.source import Migration

_CLOCK_SECONDS = 2.0
_ON = ("fsync", "full_page_writes", "autovacuum", "track_counts", "row_security")

_RELOAD = "SELECT pg_reload_conf();"
_RESTART = "restart the server"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be."""

    about: str
    what: str
    do: str

    def as_dict(self) -> dict[str, str]:
        """Return it for a JSON report."""
        return {"about": self.about, "what": self.what, "do": self.do}


@dataclass
class Outcome:
    """What was found, what was looked at, and what this login could not see."""

    findings: list[Finding] = field(default_factory=list)
    looked_at: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it for a JSON report."""
        return {
            "healthy": not self.findings,
            "findings": [each.as_dict() for each in self.findings],
            "looked_at": self.looked_at,
            "not_shown": self.unseen,
        }


def examine(connection: Connection, migrations: list[Migration]) -> Outcome:
    """Look at everything, in the transaction that is open, and change nothing."""
    outcome = Outcome()
    for name, check in (
        ("versions", _versions),
        ("clock", _clock),
        ("settings", _settings),
        ("database", _database),
        ("roles", _roles),
    ):
        outcome.looked_at.append(name)
        outcome.findings += [Finding(name, what, do) for what, do in check(connection, outcome)]
    outcome.looked_at += ["migrations", "grants", "health"]
    outcome.findings += [Finding("migrations", what, do) for what, do in _migrations(connection, migrations, outcome)]
    outcome.findings += [Finding("health", each.what, each.do) for each in monitor.look(connection).alarms]
    return outcome


Said = Iterator[tuple[str, str]]


def _versions(connection: Connection, _outcome: Outcome) -> Said:
    version = connection.info.server_version
    if version < MINIMUM_VERSION:
        yield f"The server is PostgreSQL {version // 10000}, and 15 is the oldest that will do.", "upgrade the server"
    try:
        clients.find(version // 10000)
    except EnvironmentMissingError:
        yield (
            f"No pg_dump for PostgreSQL {version // 10000} is on this machine, which backups need.",
            f"apt-get install postgresql-client-{version // 10000}",
        )


def _clock(connection: Connection, _outcome: Outcome) -> Said:
    before = time.time()
    row = connection.execute(query("monitor", "clock")).fetchone()
    after = time.time()
    now = row["now"] if row else before
    apart = now - after if now > after else before - now if now < before else 0.0
    if apart > _CLOCK_SECONDS:
        yield (
            f"The server's clock and this machine's are {apart:,.0f} s apart; sessions go by the server's.",
            "timedatectl set-ntp true, on the one that is wrong",
        )


def _settings(connection: Connection, outcome: Outcome) -> Said:
    names = [*_ON, "password_encryption", "log_parameter_max_length", "log_parameter_max_length_on_error"]
    names += ["log_statement", "shared_preload_libraries", "max_connections", "cron.use_background_workers"]
    rows = connection.execute(query("monitor", "setting"), {"names": names}).fetchall()
    found = {row["name"]: row["setting"] for row in rows}
    outcome.unseen += [name for name in names if name not in found and not name.startswith("cron.")]
    for name in _ON:
        if found.get(name, "on") != "on":
            yield f"{name} is {found[name]}.", f"ALTER SYSTEM SET {name} = on; {_RELOAD}"
    if found.get("password_encryption", "scram-sha-256") != "scram-sha-256":
        yield (
            f"New passwords are kept as {found['password_encryption']}.",
            f"ALTER SYSTEM SET password_encryption = 'scram-sha-256'; {_RELOAD} and set passwords anew",
        )
    for name in ("log_parameter_max_length", "log_parameter_max_length_on_error"):
        if found.get(name, "0") != "0":
            yield (
                f"{name} is {found[name]}: the log may hold bind parameters, keys and tokens among them.",
                f"ALTER SYSTEM SET {name} = 0; {_RELOAD}",
            )
    if found.get("log_statement") == "all":
        yield "Every statement is logged, with what is in it.", f"ALTER SYSTEM SET log_statement = 'ddl'; {_RELOAD}"
    loaded = found.get("shared_preload_libraries")
    if loaded is not None and "pg_stat_statements" not in loaded:
        yield (
            "pg_stat_statements is not loaded, so nobody can say which statements are slow.",
            f"ALTER SYSTEM SET shared_preload_libraries = {', '.join(filter(None, [loaded, 'pg_stat_statements']))}; "
            f"{_RESTART}",
        )
    if int(found.get("max_connections", "100")) < 100:  # noqa: PLR2004 - the spec's number
        yield (
            f"The server takes {found['max_connections']} connections, and the database alone may have 100.",
            f"ALTER SYSTEM SET max_connections = 120; {_RESTART}",
        )
    if found.get("cron.use_background_workers") == "off":
        yield (
            "pg_cron connects by itself, which fails where a password is asked for.",
            f"ALTER SYSTEM SET cron.use_background_workers = on; {_RESTART}",
        )


def _database(connection: Connection, _outcome: Outcome) -> Said:
    row = connection.execute(query("monitor", "database")).fetchone()
    assert row is not None  # noqa: S101 - one is in a database
    if row["owner"] != OWNER:
        yield f"The database belongs to {row['owner']} and not to {OWNER}.", "portaldb init, as a superuser"
    if row["encoding"] != "UTF8":
        yield (
            f"The database's encoding is {row['encoding']}.",
            f"move its rows to a new one: portaldb init ({DATABASE})",
        )
    if row["public_may_connect"]:
        yield "Every login of the server may connect to the database.", "portaldb init, as a superuser"
    for extension in bootstrap.EXTENSIONS:
        if extension not in row["extensions"]:
            yield f"The extension {extension} is missing.", "portaldb init, as a superuser"
    if row["checksums"] == "off":
        yield "Page checksums are off: a disk that forgets is not noticed.", "pg_checksums --enable, server stopped"


def _roles(connection: Connection, _outcome: Outcome) -> Said:
    names = [role.name for role in bootstrap.ROLES]
    rows = {row["name"]: row for row in connection.execute(query("bootstrap", "roles"), {"names": names}).fetchall()}
    for role in bootstrap.ROLES:
        row = rows.get(role.name)
        if row is None:
            yield f"The role {role.name} is missing.", "portaldb init, as a superuser"
            continue
        for key in ("superuser", "createrole", "createdb", "replication", "bypassrls"):
            if row[key] and not (key == "bypassrls" and role.bypassrls):
                yield f"{role.name} has {key.upper()}.", f"ALTER ROLE {role.name} NO{key.upper()};"
        if role.login and not row["login"]:
            yield f"{role.name} may not log in.", f"ALTER ROLE {role.name} LOGIN;"


def _migrations(connection: Connection, migrations: list[Migration], outcome: Outcome) -> Said:
    entries = history.compare(migrations, history.records(connection))
    pending = [entry for entry in entries if entry.state not in history.CLEAN]
    if pending:
        yield (
            f"{len(pending)} migrations are not applied, or not as their files say, {pending[0].id} among them.",
            "portaldb status, then portaldb migrate",
        )
    try:
        found = drift.look(connection, migrations, ()).differences
    except PortalError:
        outcome.looked_at.remove("grants")  # `drift` says why, and what is to be done first was said above
        return
    if found:
        first = found[0]
        yield (
            f"{len(found)} things are not as the migrations make them, grants among them: {first.thing.key} is "
            f"{first.change}.",
            "portaldb drift",
        )
