"""A run of the verifier: on a throwaway database, or on a running one inside a transaction that is rolled back."""

import secrets
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import psycopg
from psycopg import sql

from portaldb import bootstrap, database, engine
from portaldb.database import Connection, query
from portaldb.errors import EnvironmentMissingError, FindingsError, RefusedError, RightsError, UsageError
from portaldb.source import Migration
from portaldb.verify import attack, cells, coverage, forms, found, lints, trial, trials
from portaldb.verify.access import Access
from portaldb.verify.labels import Labels
from portaldb.verify.outcome import Outcome
from portaldb.verify.trial import Result

LOCK_TIMEOUT = "100ms"
"""How long a trial waits for a lock; on a running database nobody waits longer behind one."""

MADE_BY = "A throwaway database of portaldb verify."
"""The comment by which a database that a killed run left behind is known."""


class Say(Protocol):
    """Tell a person how far it is; a passing line is overwritten by the next, and left out of a log."""

    def __call__(self, line: str, *, passing: bool = False) -> None:
        """Say a line."""
        ...


@contextmanager
def throwaway(url: str, migrations: list[Migration], say: Say, setup: Path | None = None) -> Iterator[str]:
    """Make a database from the migrations, and drop it afterwards, whatever happened meanwhile.

    `setup` is a file of SQL that is run after them: the schema of another product. Raises FindingsError where a role of
    the server has powers that `init` would take from it: they are not mended here.
    """
    name = f"portaldb_verify_{secrets.token_hex(6)}"
    target = database.with_database(url, name)
    with database.connect(database.with_database(url, "postgres"), name="portaldb verify") as server:
        _require_roles_alone(target, name)
        _drop_left_behind(server, say)
        # Ended by its parent (a CI that gives up), it cleans up as after Ctrl-C.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            say(f"Making a throwaway database from {len(migrations)} migrations …", passing=True)
            _make(server, name)
            bootstrap.init(target, locale="C", dry_run=False, wait=0, say=lambda _line: None)
            engine.migrate(target, migrations, to=None, options=engine.Options(), wait=0, dry_run=False, say=quiet)
            if setup:
                _run_file(target, setup)
            yield target
        finally:
            signal.signal(signal.SIGTERM, before)
            # A server that is gone has been told already; the next run drops what is left.
            with suppress(psycopg.OperationalError):
                server.execute(sql.SQL(query("manifest", "drop")).format(database=sql.Identifier(name)))


def _make(server: Connection, name: str) -> None:
    """Make the database, under a lock that goes with this process, and marked as ours."""
    server.execute(query("verify", "claim"), {"name": name})
    for statement in ("create", "mark"):
        parts = {"database": sql.Identifier(name), "comment": sql.Literal(MADE_BY)}
        server.execute(sql.SQL(query("verify", statement)).format(**parts))


def _drop_left_behind(server: Connection, say: Say) -> None:
    """Drop what runs that were killed have left: marked as ours, claimed by no process, and with nobody in it."""
    for row in server.execute(query("verify", "left_behind"), {"comment": MADE_BY}).fetchall():
        with suppress(psycopg.errors.ObjectInUse):
            server.execute(sql.SQL(query("verify", "drop_left_behind")).format(database=sql.Identifier(row["name"])))
            say(f"dropped {row['name']}, which a run that was killed had left behind")


def _run_file(url: str, path: Path) -> None:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(f"the setup that the access file names cannot be read: {error}") from None
    with database.connect(url, name="portaldb verify") as connection, database.translated(f"running {path.name}"):
        connection.execute(text)


def quiet(line: str, *, passing: bool = False) -> None:
    """Say nothing: the command's own lines tell what is going on."""


def _require_roles_alone(target: str, name: str) -> None:
    planned = bootstrap.init(target, locale="C", dry_run=True, wait=0, say=lambda _line: None)
    changed = [text for text in planned.done if text.startswith("ALTER ROLE") and " NO" in text]
    if changed:
        raise FindingsError(
            f"The roles of this server have powers that they are not meant to have. `portaldb init` would run: "
            f"{' '.join(changed)} Nothing was changed, and nothing else was looked at ({name} was not made)."
        )


def verify(url: str, access: Access, *, live: bool, say: Say = quiet) -> Outcome:
    """Try every cell and ask the catalog every lint in one transaction, which is rolled back.

    Raises RefusedError on a standby, RightsError for a login that cannot act as everyone.
    """
    began = time.monotonic()
    labels = Labels(access.ids)
    with database.connect(url, name="portaldb verify") as connection:
        version = require(connection, access)
        say("Trying who reaches what …", passing=True)
        with inside(connection, live=live):
            access = of_this_state(connection, access) if live else access
            results = matrix(connection, access, labels, live=live)
            findings = lints.run(connection, access)
        results += [] if live else attack.sessions(connection, url, access)
    where = database.describe(url) if live else "a throwaway database"
    seconds = time.monotonic() - began
    return Outcome(where, live, access, labels, results, seconds, version, findings, lints.all_lints())


@contextmanager
def inside(connection: Connection, *, live: bool = False) -> Iterator[None]:
    """Open the transaction that is rolled back, with short waits and no other surprises."""
    try:
        with connection.transaction(force_rollback=True):
            for name, value in (*_SETTINGS, *(_LIVE if live else ())):
                connection.execute("SELECT set_config(%s, %s, true)", (name, value))
            yield
    except psycopg.errors.LockNotAvailable as error:
        raise database.server_error(error, "making the synthetic rows; somebody holds a lock on their tables") from None
    except psycopg.Error as error:
        raise database.server_error(error, "trying who reaches what") from None


_SETTINGS = (
    ("lock_timeout", LOCK_TIMEOUT),
    ("statement_timeout", "30s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("search_path", "pg_catalog, pg_temp"),
    ("client_min_messages", "error"),
    ("row_security", "on"),
    ("jit", "off"),
)


# A statement names the synthetic rows, and yet a join over a view may read a whole table or index to find them. The
# costs that say so are made up: hence no jit above, or statements would be compiled for their sake.
_LIVE = (
    ("idle_in_transaction_session_timeout", "10s"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
)


def require(connection: Connection, access: Access) -> int:
    """Raise where this server or login cannot be used; return the server's version."""
    row = connection.execute(query("verify", "session"), {"roles": list(access.roles)}).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM has one row
    if row["standby"]:
        raise RefusedError(
            f"{row['database']} is a standby, where no synthetic row can be made. Connect to the primary."
        )
    if row["planted"]:
        raise FindingsError(
            "There is a schema portaldb_verify, which only a throwaway database has; what is in it would not be looked "
            "at. Nothing was tried. Drop it: DROP SCHEMA portaldb_verify CASCADE."
        )
    if row["missing_roles"]:
        raise EnvironmentMissingError(
            f"The role {', '.join(row['missing_roles'])} does not exist on this server. Run `portaldb init` first."
        )
    if not row["superuser"]:
        raise RightsError(
            f"The login {row['login']} cannot act as every role. Connect as a superuser: what is tried is rolled back, "
            "and nothing of yours is read."
        )
    return int(row["version"])


def matrix(
    connection: Connection, access: Access, labels: Labels, *, live: bool, only: str | None = None
) -> list[Result]:
    """Make the synthetic rows, try every cell (or those of one relation `only`), and add what needs no trial."""
    catalog, derived = prepare(connection, access, labels, live=live, only=only)
    shown = [cell for cell in trials.derive(access, catalog, labels, live=live) if only in (None, cell.relation)]
    results = trial.run(connection, derived, access.setting)
    return in_order(
        access,
        [
            *results,
            *forms.undeclared(access, catalog, results, only),
            *trials.run(connection, shown, access.setting),
            *coverage.check(access, catalog),
            *(result for result in coverage.seen(access, catalog) if only in (None, result.cell.relation)),
            *trials.coverage(catalog),
        ],
    )


def of_this_state(connection: Connection, access: Access) -> Access:
    """Leave out the actors that are about another state than this running database is in, and their trials."""
    there = []
    for actor in access.actors:
        row = connection.execute(actor.when.encode()).fetchone() if actor.when else {"": True}
        if row is None:
            raise FindingsError(
                f"It cannot be told whether {actor.title} is to be tried: {' '.join(actor.when.split())} gives no row. "
                "Nothing was tried. Put back what it asks for."
            )
        if all(row.values()):
            there.append(actor)
    names = {actor.name for actor in there}
    return replace(access, actors=tuple(there), trials=tuple(trial for trial in access.trials if trial.actor in names))


def in_order(access: Access, results: list[Result]) -> list[Result]:
    """Sort results as the access file names their relations: a table comes before the views over it."""
    places = {name: place for place, name in enumerate([*access.relations, *access.functions])}
    return sorted(results, key=lambda result: places.get(result.cell.relation, -1))


def prepare(
    connection: Connection, access: Access, labels: Labels, *, live: bool, only: str | None = None
) -> tuple[found.Catalog, list[cells.Cell]]:
    """Make the synthetic rows and the tools of the trials, and return what there is and what is to be tried."""
    trial.insert_rows(connection, access, labels, live=live)
    trial.make_tools(connection, access, live=live)
    catalog = found.look(connection, access, labels)
    derived = cells.derive(access, catalog, labels, live=live, only=only)
    derived += forms.derive(connection, access, catalog, labels, live=live, only=only)
    derived += attack.derive(access, catalog, labels, live=live, only=only)
    return catalog, cells.into_state(access, derived, labels, live=live)
