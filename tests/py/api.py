"""The database as a service calls it, and calls that have to wait for one another."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
from psycopg.rows import tuple_row
from support import one, until, waits_for_lock

Connection = psycopg.Connection[Any]


def service(url: str, user: str | None = None, name: str = "service") -> Connection:
    """Connect as a service does, in a transaction about a user."""
    connection = psycopg.connect(url, row_factory=tuple_row, application_name=name)
    connection.execute("SET ROLE portal_app")
    connection.commit()
    if user:
        connection.execute("SELECT public.set_app_context(%s)", (user,))
    return connection


def call(connection: Connection, query: str, *values: object) -> Any:  # noqa: ANN401 - a row
    """Return a query's first row, or its value where it has one column."""
    row = connection.execute(query.encode(), values or None).fetchone()
    assert row is not None
    return row[0] if len(row) == 1 else row


def person(url: str, name: str, role: str = "standard_user") -> str:
    """Make a user and return their id."""
    return str(
        one(
            url,
            "INSERT INTO public.users (azure_oid, email, role) VALUES (%s, %s, %s) RETURNING id",
            name, f"{name}@example.org", role,
        )
    )  # fmt: skip


def in_background(pool: ThreadPoolExecutor, url: str, work: Callable[[], Any], name: str) -> Future[Any]:
    """Begin something that has to wait for a lock, and return once it waits."""
    future = pool.submit(work)
    until(lambda: future.done() or waits_for_lock(url, name)(), f"{name} to wait for a lock")
    assert not future.done(), future.result()
    return future
