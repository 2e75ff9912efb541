"""`portaldb init`: what only a superuser, or a managed server's administrator, can do, once and again.

Roles, the database, extensions, the grants around them. It observes, derives the statements that are missing, and
runs those: a second run does nothing. Where a managed server forbids an optional statement, init says which and
what is lost without it, and goes on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from portaldb import database
from portaldb.database import OWNER, Connection, query, server_error, translated
from portaldb.errors import PortalError, RefusedError, RightsError, UsageError

INIT_LOCK_KEY = 0x706F7274616C6969
"""Two `init` on one server take turns; the lock lies in the maintenance database."""


@dataclass(frozen=True)
class Role:
    """A role of the product: its attributes, what it is granted, and what it is for."""

    name: str
    purpose: str
    login: bool = False
    bypassrls: bool = False
    grants: tuple[str, ...] = ()


ROLES = (
    Role("portal_api", "Owns the functions that do more than their caller may; itself under the policies."),
    Role("portal_app", "The services' role: logins are granted into it."),
    Role("portal_runner", "The container runner's role."),
    # pg_cron runs a job as the role that scheduled it, and that role must be able to log in.
    Role("portal_maintenance", "Executes the scheduled jobs, and nothing else.", login=True),
    Role("portal_monitor", "Reads the monitoring views and the record of migrations: counts, no tenant's rows."),
    Role(
        "portal_backup",
        "Reads every row for backups.",
        bypassrls=True,
        grants=("pg_read_all_data",),
    ),
    Role(
        OWNER,
        "Owns the database and applies migrations.",
        login=True,
        grants=("portal_api", "portal_maintenance"),
    ),
)
"""In the order they are made: a role comes after those it is granted."""

CONNECTING = ("portal_app", "portal_runner", "portal_maintenance", "portal_monitor", "portal_backup")

EXTENSIONS = {
    "uuid-ossp": None,
    "pgcrypto": None,
    "pg_stat_statements": "no statistics of slow statements in the monitoring views",
}
"""Name, and what is lost without it; None where the schema cannot do without."""


@dataclass(frozen=True)
class Step:
    """One statement of init, ready to run."""

    text: str
    what: str
    lost: str | None = None
    """What is lost where a managed server forbids it; None where init cannot go on without."""


@dataclass(frozen=True)
class Outcome:
    """What init did: the statements that ran, and those the server forbade with what is lost."""

    done: list[str]
    forbidden: list[tuple[str, str]]


def init(url: str, *, locale: str, dry_run: bool, wait: float, say: Callable[[str], None]) -> Outcome:
    """Make roles, database, extensions and grants; with `dry_run` return the statements only, as psql takes them.

    Raises RightsError where the login can make neither roles nor databases, RefusedError where the server or an
    existing database cannot serve, PortalError where a needed statement fails.
    """
    name = database.database_name(url)
    outcome = Outcome([], [])
    with _maintenance(url, wait) as server, translated("looking at the server"):
        who = _one(server, "server")
        _require(who, name)
        database.require_direct(server, url)
        server.execute(query("bootstrap", "prepare"))
        if not dry_run:
            _take_turns(server, say)
        existing = server.execute(query("bootstrap", "database"), {"name": name}).fetchone()
        database_steps = _database_steps(name, locale, existing)
        _perform(server, _role_steps(server, who), outcome, dry_run, say)
        _perform(server, database_steps, outcome, dry_run, say)
        become = [] if who["superuser"] else [_step("become", f"become {OWNER}", role=sql.Identifier(OWNER))]
        if existing is None and dry_run:
            found = _one(server, "inside", names=[]) | _NEW_DATABASE
            _list(outcome, name, become, _inside_steps(name, found, superuser=who["superuser"]))
            return outcome
        # The server connection stays open: it holds the lock.
        with database.connect(database.with_database(url, name), name="portaldb init") as target:
            target.execute(query("bootstrap", "prepare"))
            found = _one(target, "inside", names=[role.name for role in ROLES])
            steps = _inside_steps(name, found, superuser=who["superuser"])
            if dry_run:
                _list(outcome, name, become, steps)
                return outcome
            if become:
                _become_owner(target, become[0], who["login"])
            _perform(target, steps, outcome, dry_run, say)
    return outcome


def _take_turns(server: Connection, say: Callable[[str], None]) -> None:
    """Wait for another `init` on this server to end."""
    row = server.execute(query("bootstrap", "try_lock"), {"key": INIT_LOCK_KEY}).fetchone()
    if not (row and row["held"]):
        say("waiting: another init is at work on this server")
        server.execute(query("bootstrap", "lock"), {"key": INIT_LOCK_KEY})


def _list(outcome: Outcome, name: str, become: list[Step], steps: list[Step]) -> None:
    """Add what happens inside the database to a dry run, with psql's way into it."""
    if steps:
        inside = sql.Identifier(name).as_string(None)
        outcome.done.extend([f"\\connect {inside}", *(step.text for step in [*become, *steps])])


_NEW_DATABASE: dict[str, Any] = {
    "extensions": [],
    "public_may_connect": True,
    "public_may_create": False,
    "may_connect": [],
    "cron_granted": False,
    "public_owner": "pg_database_owner",
}
"""What a database made from template0 holds, for a dry run on a server that has not got it yet."""


def _maintenance(url: str, wait: float) -> Connection:
    return database.connect(database.with_database(url, "postgres"), wait=wait, name="portaldb init")


def _require(who: dict[str, Any], name: str) -> None:
    if name in _NOT_OURS:
        raise UsageError(
            f"the URL names the database {name}, which is the server's own. Name the one that init is to make, "
            f"such as {database.DATABASE}."
        )
    if who["version"] < database.MINIMUM_VERSION:
        raise RefusedError(f"The server is PostgreSQL {who['version'] // 10000}; mcp_portal needs 15 or newer.")
    if who["standby"]:
        raise RefusedError("The server is a standby and cannot be written. Connect to the primary.")
    if not who["superuser"] and not (who["createrole"] and who["createdb"]):
        raise RightsError(
            f"The login {who['login']} can make neither roles nor databases. Nothing was changed. Run init as a "
            "superuser, or as a login with CREATEROLE and CREATEDB (the administrator of a managed server)."
        )


def _role_steps(server: Connection, who: dict[str, Any]) -> list[Step]:
    rows = server.execute(query("bootstrap", "roles"), {"names": [role.name for role in ROLES]}).fetchall()
    existing = {row["name"]: row for row in rows}
    steps: list[Step] = []
    for role in ROLES:
        steps += _steps_for(role, existing.get(role.name))
    if not who["superuser"]:
        steps += [step for step in (_own_membership(server, existing, who),) if step]
    return steps


def _steps_for(role: Role, row: dict[str, Any] | None) -> list[Step]:
    name = sql.Identifier(role.name)
    steps = []
    attributes = "LOGIN" if role.login else "NOLOGIN"
    if row is None:
        steps.append(_step("create_role", f"create role {role.name}", role=name, attributes=sql.SQL(attributes)))
        steps.append(_step("comment_role", f"describe {role.name}", lost="a comment", role=name, comment=role.purpose))
    else:
        # A login was perhaps given to portal_backup on purpose; what must never stay is power beyond the role's own.
        excess = [word for word, key in _EXCESS if row[key] and not (key == "bypassrls" and role.bypassrls)]
        if excess:
            steps.append(
                _step(
                    "alter_role",
                    f"take {', '.join(excess)} from {role.name}",
                    role=name,
                    attributes=sql.SQL(" ".join(excess)),
                )
            )
        if role.login and not row["login"]:
            steps.append(_step("alter_role", f"let {role.name} log in", role=name, attributes=sql.SQL("LOGIN")))
    if role.bypassrls and not (row and row["bypassrls"]):
        steps.append(
            _step(
                "alter_role",
                f"let {role.name} read past Row-Level Security",
                lost="backups read through SELECT policies, with pg_dump --enable-row-security",
                role=name,
                attributes=sql.SQL("BYPASSRLS"),
            )
        )
    for granted in role.grants:
        if not row or granted not in row["member_of"]:
            lost = "backups need SELECT granted table by table" if granted.startswith("pg_") else None
            steps.append(
                _step(
                    "grant_role",
                    f"grant {granted} to {role.name}",
                    lost=lost,
                    granted=sql.Identifier(granted),
                    role=name,
                )
            )
    return steps


_NOT_OURS = ("postgres", "template0", "template1")

_EXCESS = (
    ("NOSUPERUSER", "superuser"),
    ("NOBYPASSRLS", "bypassrls"),
    ("NOCREATEROLE", "createrole"),
    ("NOCREATEDB", "createdb"),
    ("NOREPLICATION", "replication"),
)


def _own_membership(server: Connection, existing: dict[str, Any], who: dict[str, Any]) -> Step | None:
    """A login that is no superuser must be a member of the owner to hand it a database."""
    if OWNER in existing:
        row = _one(server, "may_set", role=OWNER)
        if row["inherits"]:
            return None
    return _step(
        "grant_role",
        f"grant {OWNER} to {who['login']}",
        granted=sql.Identifier(OWNER),
        role=sql.Identifier(who["login"]),
    )


def _database_steps(name: str, locale: str, row: dict[str, Any] | None) -> list[Step]:
    target, owner = sql.Identifier(name), sql.Identifier(OWNER)
    if row is None:
        return [_step("create_database", f"create database {name}", database=target, owner=owner, locale=locale)]
    if row["encoding"] != "UTF8":
        raise RefusedError(
            f"The database {name} exists with encoding {row['encoding']}, which cannot be changed; mcp_portal needs "
            "UTF8. Nothing was done to it. Choose another name, or move its data to a new database."
        )
    steps = []
    if row["owner"] != OWNER:
        steps.append(_step("alter_database_owner", f"hand database {name} to {OWNER}", database=target, owner=owner))
    if row["connection_limit"] != 100:  # noqa: PLR2004 - the spec's number
        steps.append(_step("connection_limit", f"limit {name} to 100 connections", database=target))
    return steps


def _inside_steps(name: str, found: dict[str, Any], *, superuser: bool) -> list[Step]:
    target = sql.Identifier(name)
    steps = []
    if found["public_owner"] != "pg_database_owner":
        steps.append(_step("schema_owner", "hand schema public to the database's owner"))
    if found["public_may_create"]:
        steps.append(_step("revoke_create", "take CREATE on schema public from PUBLIC"))
    if found["public_may_connect"]:
        steps.append(_step("revoke_public", f"take {name} from PUBLIC", database=target))
    steps += [
        _step("grant_connect", f"let {role} connect", database=target, role=sql.Identifier(role))
        for role in CONNECTING
        if role not in found["may_connect"]
    ]
    steps += [
        _step("create_extension", f"add {extension}", lost=lost, extension=sql.Identifier(extension))
        for extension, lost in EXTENSIONS.items()
        if extension not in found["extensions"]
    ]
    # A login that is no superuser may not see which database pg_cron lives in, and can but try.
    cron_here = found["cron_database"] == name or (found["cron_database"] is None and not superuser)
    if cron_here and "pg_cron" in found["available"] and "pg_cron" not in found["extensions"]:
        steps.append(_step("create_cron", "add pg_cron", lost="jobs run by `portaldb jobs` or another scheduler"))
    elif "pg_cron" in found["extensions"] and not found["cron_granted"]:
        steps.append(
            _step(
                "grant_cron",
                "let the maintenance role alone schedule jobs and prune their history",
                lost="jobs run by another scheduler",
            )
        )
    return steps


def _become_owner(target: Connection, become: Step, login: str) -> None:
    try:
        target.execute(become.text.encode())
    except psycopg.Error as error:
        raise server_error(error, f"becoming {OWNER} as {login}") from None


def _perform(
    connection: Connection, steps: list[Step], outcome: Outcome, dry_run: bool, say: Callable[[str], None]
) -> None:
    for step in steps:
        if dry_run:
            outcome.done.append(step.text)
            continue
        try:
            connection.execute(step.text.encode())
        except psycopg.Error as error:
            if step.lost is None:
                raise _explain(error, step) from None
            reason = error.diag.message_primary or str(error)
            outcome.forbidden.append((step.text, f"{reason}; without it: {step.lost}"))
            say(f"forbidden  {step.what}: {reason}. Without it: {step.lost}.")
        else:
            outcome.done.append(step.text)
            say(f"done       {step.what}")


def _explain(error: psycopg.Error, step: Step) -> PortalError:
    said = error.diag.message_primary or str(error)
    if "locale" in said and "CREATE DATABASE" in step.text:
        return RefusedError(
            f"The server has not got the locale that the database needs ({said}). It was not made. On Debian: "
            "apt-get install locales, then `localedef -i en_US -f UTF-8 en_US.UTF-8` and restart PostgreSQL; or "
            "choose one the server has with `portaldb init --locale C.UTF-8`."
        )
    if isinstance(error, psycopg.errors.UndefinedFile | psycopg.errors.FeatureNotSupported):
        return RefusedError(
            f"To {step.what}, the server needs a package it has not got ({said}). On Debian: apt-get install "
            "postgresql-contrib. Then run the same command again."
        )
    return server_error(error, f"trying to {step.what}")


def _step(name: str, what: str, lost: str | None = None, **values: Any) -> Step:  # noqa: ANN401 - SQL parts or text
    parts = {key: value if isinstance(value, sql.Composable) else sql.Literal(value) for key, value in values.items()}
    return Step(sql.SQL(query("bootstrap", name)).format(**parts).as_string(None), what, lost)


def _one(connection: Connection, name: str, **values: object) -> dict[str, Any]:
    row = connection.execute(query("bootstrap", name), values).fetchone()
    assert row is not None  # noqa: S101 - these queries have one row always
    return row
