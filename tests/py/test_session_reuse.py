"""A backend that serves one tenant after another: whatever the one leaves behind, the next sees none of it.

First one connection, and each way that a transaction can end on it; then PgBouncer in transaction mode, where a few
backends serve many clients in whatever order they come.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from conftest import Login, MakeDatabase, Pooler
from support import ask, one

TENANTS = 12
CLIENTS = 16
BACKENDS = 4

Connection = psycopg.Connection[Any]

PORTAL = """
INSERT INTO public.users (id, azure_oid, email)
SELECT md5(n::text)::uuid, 'user ' || n, n || '@example.org' FROM generate_series(1, %s) AS n;

INSERT INTO public.mcp_servers (name, image, catalog_type, created_by)
SELECT 'tool of ' || azure_oid, 'x', 'custom', id FROM public.users;

INSERT INTO public.user_server_configs (user_id, server_id)
SELECT u.id, s.id FROM public.users AS u, public.mcp_servers AS s WHERE s.created_by IS NULL OR s.created_by = u.id;

INSERT INTO public.user_sessions (user_id, session_token, expires_at)
SELECT id, azure_oid || ' ' || n, 'infinity' FROM public.users, generate_series(1, 20) AS n;

INSERT INTO public.teams (name, created_by) SELECT 'team of ' || azure_oid, id FROM public.users;
INSERT INTO public.team_members (team_id, user_id) SELECT id, created_by FROM public.teams
"""
"""Tenants who share nothing but the predefined servers."""

EVERYTHING = """
SELECT id AS owner FROM public.users
UNION ALL SELECT user_id FROM public.user_server_configs
UNION ALL SELECT user_id FROM public.user_sessions
UNION ALL SELECT created_by FROM public.mcp_servers WHERE catalog_type = 'custom'
UNION ALL SELECT created_by FROM public.teams
UNION ALL SELECT user_id FROM public.team_members
UNION ALL SELECT user_id FROM public.user_dashboard
"""
"""The owner of every row that is to be seen, of every relation of tenants' rows."""

CATALOG = "SELECT count(*) FROM public.mcp_servers"


@pytest.fixture
def portal(make_database: MakeDatabase) -> str:
    """Make a database with tenants."""
    url = make_database(migrate=True)
    with psycopg.connect(url) as connection:
        for statement in PORTAL.replace("%s", str(TENANTS)).split(";"):
            connection.execute(statement.encode())
    return url


@pytest.fixture
def tenants(portal: str) -> list[str]:
    """Return the tenants' ids."""
    return ask(portal, "SELECT id::text FROM public.users ORDER BY 1")


# One backend ---------------------------------------------------------------------------------------------

LOCALLY = "SET LOCAL app.current_user_id = '{me}'"
EXECUTE = "EXECUTE everything"

LEFT_BY = {
    "commit": ["BEGIN", LOCALLY, EVERYTHING, "COMMIT"],
    "rollback": ["BEGIN", LOCALLY, EVERYTHING, "ROLLBACK"],
    "an error": ["BEGIN", LOCALLY, EVERYTHING, "SELECT 1 / 0", "ROLLBACK"],
    "an error, and COMMIT": ["BEGIN", LOCALLY, "SELECT 1 / 0", "COMMIT"],
    "a savepoint kept": ["BEGIN", "SAVEPOINT s", LOCALLY, EVERYTHING, "RELEASE s", "COMMIT"],
    "a savepoint undone": ["BEGIN", "SAVEPOINT s", LOCALLY, EVERYTHING, "ROLLBACK TO s", "COMMIT"],
    "one string of statements": ["SELECT set_config('app.current_user_id', '{me}', true);" + EVERYTHING],
    "a session's setting, reset": [LOCALLY.replace("LOCAL", "SESSION"), EVERYTHING, "RESET app.current_user_id"],
    "a session's setting, discarded": [LOCALLY.replace("LOCAL", "SESSION"), EVERYTHING, "DISCARD ALL"],
    "a role": ["BEGIN", LOCALLY, "SET ROLE portal_app", EVERYTHING, "COMMIT", "RESET ROLE"],
    "a role that stays": ["BEGIN", LOCALLY, "SET ROLE portal_app", EVERYTHING, "COMMIT"],
    "a generic plan": [
        "SET plan_cache_mode = force_generic_plan",
        *("BEGIN", LOCALLY, f"PREPARE everything AS {EVERYTHING}", *[EXECUTE] * 7, "COMMIT"),
    ],
    "a custom plan": ["BEGIN", LOCALLY, f"PREPARE everything AS {EVERYTHING}", EXECUTE, "COMMIT"],
    "a plan made before there was a context": [
        *(f"PREPARE everything AS {EVERYTHING}", *[EXECUTE] * 7, "BEGIN", LOCALLY, *[EXECUTE] * 7, "COMMIT"),
    ],
    "a plan undone": ["BEGIN", LOCALLY, f"PREPARE everything AS {EVERYTHING}", *[EXECUTE] * 7, "ROLLBACK"],
    "a cursor": ["BEGIN", LOCALLY, f"DECLARE c CURSOR FOR {EVERYTHING}", "FETCH 3 FROM c", "COMMIT"],
    "a cursor WITH HOLD": ["BEGIN", LOCALLY, f"DECLARE held CURSOR WITH HOLD FOR {EVERYTHING}", "COMMIT"],
    "the functions' own plans": ["BEGIN", LOCALLY, *[EVERYTHING] * 8, "COMMIT"],
}


@pytest.mark.parametrize("left", LEFT_BY.values(), ids=LEFT_BY)
def test_session_reuse_shows_the_next_nothing(left: list[str], portal: str, tenants: list[str], login: Login) -> None:
    """However alpha's transaction ended: without a context no row and no error, and beta sees beta's rows alone."""
    alpha, beta = tenants[:2]
    with psycopg.connect(login(portal, "portal_app"), autocommit=True, prepare_threshold=None) as backend:
        for statement in left:
            with suppress(psycopg.errors.DivisionByZero):
                backend.execute(statement.replace("{me}", alpha).encode())
        (remembered,) = backend.execute("SELECT current_setting('app.current_user_id', true)").fetchone() or ()
        # What a setting that was local leaves behind; a literal cast of it would be an error.
        assert remembered == "" or "undone" in left

        statements = [EVERYTHING]
        if backend.execute("SELECT FROM pg_prepared_statements WHERE name = 'everything'").rowcount:
            statements.append(EXECUTE)
        for statement in statements:
            assert backend.execute(statement.encode()).fetchall() == []
        assert backend.execute(CATALOG).fetchone() == (0,)
        for me in (beta, alpha):
            for statement in statements:
                with backend.transaction():
                    backend.execute("SELECT set_config('app.current_user_id', %s, true)", [me])
                    owners = {str(owner) for (owner,) in backend.execute(statement.encode())}
                assert owners == {me}
        assert backend.execute(EVERYTHING).fetchall() == []


def test_session_reuse_plan_of_another_role(portal: str, tenants: list[str], login: Login) -> None:
    """A statement that was prepared as a role that sees everything shows the next role its own rows."""
    both = login(portal, "portal_app")
    ask(portal, f"GRANT portal_runner TO {psycopg.conninfo.conninfo_to_dict(both)['user']}")
    with psycopg.connect(both, autocommit=True, prepare_threshold=None) as backend:
        backend.execute("SET ROLE portal_runner")
        backend.execute("SET plan_cache_mode = force_generic_plan")
        backend.execute("PREPARE configs AS SELECT user_id::text FROM public.user_server_configs")
        assert {each for (each,) in backend.execute("EXECUTE configs")} == set(tenants)
        backend.execute("SET ROLE portal_app")
        assert backend.execute("EXECUTE configs").fetchall() == []
        with backend.transaction():
            backend.execute("SELECT set_config('app.current_user_id', %s, true)", [tenants[0]])
            assert {each for (each,) in backend.execute("EXECUTE configs")} == {tenants[0]}
        backend.execute("SET ROLE portal_runner")
        assert {each for (each,) in backend.execute("EXECUTE configs")} == set(tenants)


def test_session_reuse_held_cursor_keeps_its_rows(portal: str, tenants: list[str], login: Login) -> None:
    """Rows that were read for alpha stay in a cursor WITH HOLD, as SECURITY.md says, until the session is cleaned."""
    with psycopg.connect(login(portal, "portal_app"), autocommit=True) as backend:
        with backend.transaction():
            backend.execute("SELECT set_config('app.current_user_id', %s, true)", [tenants[0]])
            backend.execute("DECLARE held CURSOR WITH HOLD FOR SELECT id::text FROM public.users")
        assert backend.execute("FETCH ALL FROM held").fetchall() == [(tenants[0],)]
        backend.execute("DISCARD ALL")
        with pytest.raises(psycopg.errors.InvalidCursorName):
            backend.execute("FETCH ALL FROM held")


# Many clients, few backends ------------------------------------------------------------------------------


@dataclass
class Tally:
    """What clients saw: transactions by kind, rows, rows of somebody else, and whom each backend served."""

    kinds: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    across: list[str] = field(default_factory=list)
    served: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))

    def add(self, other: "Tally") -> None:
        """Add what another client saw."""
        self.kinds += other.kinds
        self.rows += other.rows
        self.across += other.across
        for backend, whom in other.served.items():
            self.served[backend] |= whom


def owners(connection: Connection, statement: str, *values: object) -> Iterator[str]:
    """Run a statement whose first column is the owner of a row."""
    for row in connection.execute(statement.encode(), values or None):
        yield str(row[0])


def reads(connection: Connection, _me: str, _dice: random.Random) -> Iterator[str]:
    """Read whatever there is to be seen."""
    yield from owners(connection, EVERYTHING)


def executes(connection: Connection, _me: str, dice: random.Random) -> Iterator[str]:
    """Execute a statement that whoever had the backend before has prepared, or prepare it for whoever comes next."""
    name = f"everything_{dice.randrange(3)}"
    if not connection.execute("SELECT FROM pg_prepared_statements WHERE name = %s", [name]).rowcount:
        connection.execute(f"PREPARE {name} AS {EVERYTHING}".encode())
    yield from owners(connection, f"EXECUTE {name}")


def updates(connection: Connection, me: str, dice: random.Random) -> Iterator[str]:
    """Write one's name into every row that can be reached."""
    statement = dice.choice(
        (
            "UPDATE public.users SET metadata = jsonb_build_object('by', %s::text) RETURNING id",
            "UPDATE public.user_server_configs SET config_metadata = jsonb_build_object('by', %s::text) "
            "RETURNING user_id",
            "UPDATE public.user_sessions SET refresh_token = %s || id RETURNING user_id",
            "UPDATE public.mcp_servers SET description = %s RETURNING created_by",
        )
    )
    yield from owners(connection, statement, me)


def inserts(connection: Connection, me: str, _dice: random.Random) -> Iterator[str]:
    """Open a session; without a context it is refused."""
    statement = (
        "INSERT INTO public.user_sessions (user_id, session_token, refresh_token, expires_at) "
        "SELECT %s::uuid, t.id, %s || t.id, 'infinity' FROM (SELECT gen_random_uuid()::text) AS t (id) "
        "RETURNING user_id"
    )
    with suppress(psycopg.errors.InsufficientPrivilege), connection.transaction():
        yield from owners(connection, statement, me, me)


def deletes(connection: Connection, _me: str, _dice: random.Random) -> Iterator[str]:
    """End some sessions of whoever can be reached."""
    yield from owners(
        connection,
        "DELETE FROM public.user_sessions WHERE id IN (SELECT id FROM public.user_sessions LIMIT 1) RETURNING user_id",
    )


def fails(connection: Connection, _me: str, _dice: random.Random) -> Iterator[str]:
    """Read, and then meet an error that ends the transaction."""
    yield from owners(connection, EVERYTHING)
    connection.execute("SELECT 1 / 0")


def steps_back(connection: Connection, me: str, _dice: random.Random) -> Iterator[str]:
    """Read and write in a savepoint that is undone, and read after it."""
    with suppress(psycopg.errors.DivisionByZero), connection.transaction():
        yield from owners(connection, "UPDATE public.user_server_configs SET enabled = NOT enabled RETURNING user_id")
        connection.execute("SELECT 1 / 0")
    yield from owners(connection, EVERYTHING)


KINDS: dict[str, Callable[[Connection, str, random.Random], Iterator[str]]] = {
    each.__name__: each for each in (reads, executes, updates, inserts, deletes, fails, steps_back)
}
SET = "SELECT set_config('app.current_user_id', %s, true), pg_backend_pid()"


def converse(url: str, tenants: list[str], dice: random.Random, transactions: int, *, local: bool) -> Tally:
    """Be a client: each transaction for some tenant or for nobody; with `local` false a bare SET goes before it."""
    tally = Tally()
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        for _ in range(transactions):
            me = dice.choice([*tenants, *tenants, ""])
            kind = dice.choice(list(KINDS))
            if me and not local:
                connection.execute(f"SET app.current_user_id = '{me}'".encode())
            seen: list[str] = []
            with suppress(psycopg.errors.DivisionByZero), connection.transaction(force_rollback=dice.random() < 0.2):
                if local and me:
                    _, backend = connection.execute(SET, [me]).fetchone() or ("", 0)
                    tally.served[backend].add(me)
                # Nobody writes in the name of somebody.
                for owner in KINDS[kind](connection, me or dice.choice(tenants), dice):
                    seen.append(owner)
            tally.kinds[kind if me else "nobody"] += 1
            tally.rows += len(seen)
            tally.across += [f"{kind} for {me or 'nobody'}: {owner}" for owner in seen if owner != me]
    return tally


def crowd(url: str, tenants: list[str], seed: int, transactions: int, *, local: bool) -> Tally:
    """Be many clients at once."""
    tally = Tally()
    share = -(-transactions // CLIENTS)
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [
            pool.submit(converse, url, tenants, random.Random(seed + n), share, local=local)  # noqa: S311 - repeatable
            for n in range(CLIENTS)
        ]
        for client in clients:
            tally.add(client.result())
    return tally


WRITTEN_BY_ANOTHER = """
SELECT
    (SELECT count(*) FROM public.users WHERE metadata ->> 'by' <> id::text)
    + (SELECT count(*) FROM public.user_server_configs WHERE config_metadata ->> 'by' <> user_id::text)
    + (SELECT count(*) FROM public.user_sessions WHERE left(refresh_token, 36) <> user_id::text)
    + (SELECT count(*) FROM public.mcp_servers WHERE description <> created_by::text AND catalog_type = 'custom')
"""
WRITTEN = "SELECT count(*) FROM public.user_server_configs WHERE config_metadata ? 'by'"
TRANSACTION_MODE = ("pool_mode = transaction", f"default_pool_size = {BACKENDS}")


@pytest.mark.parametrize("transactions", [5_000, pytest.param(200_000, marks=pytest.mark.soak)])
def test_session_reuse_through_pgbouncer_no_row_goes_across(
    transactions: int, portal: str, tenants: list[str], login: Login, pooler: Pooler, seed: int
) -> None:
    """Thousands of transactions of many clients over four backends: every row belongs to whose transaction it was."""
    pooled = pooler(login(portal, "portal_app"), *TRANSACTION_MODE)
    tally = crowd(pooled, tenants, seed, transactions, local=True)
    assert not tally.across, f"--seed {seed}: {len(tally.across)} of {tally.rows} rows went across: {tally.across[:5]}"
    assert one(portal, WRITTEN_BY_ANOTHER) == 0, f"--seed {seed}"
    # The test is about something: every kind came up, rows came back and stayed, and each backend served everyone.
    assert tally.kinds.total() >= transactions
    assert set(tally.kinds) == {*KINDS, "nobody"}
    assert tally.rows > 10 * transactions
    assert one(portal, WRITTEN) > 0
    assert len(tally.served) == BACKENDS
    assert all(whom == set(tenants) for whom in tally.served.values())


def test_session_reuse_through_pgbouncer_bare_set_goes_across(
    portal: str, tenants: list[str], login: Login, pooler: Pooler, seed: int
) -> None:
    """The misuse that SECURITY.md warns of: with a bare SET behind the same pooler, rows do go across."""
    pooled = pooler(login(portal, "portal_app"), *TRANSACTION_MODE)
    tally = crowd(pooled, tenants, seed, 500, local=False)
    assert tally.across, f"--seed {seed}: of {tally.rows} rows none went across, so the test above would see none"
    assert any("for nobody" in each for each in tally.across)
