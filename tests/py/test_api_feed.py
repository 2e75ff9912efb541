"""The change feed: whoever listens hears of each change once, by ids alone, and of nothing that did not happen."""

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from conftest import Login, MakeDatabase

CHANNELS = ("portal_config", "portal_state", "portal_catalog", "portal_user")

USER = "a0000000-0000-0000-0000-000000000001"
SERVER = "0b000000-0000-0000-0000-000000000001"
CONFIG = "0c000000-0000-0000-0000-000000000001"

PORTAL = f"""
INSERT INTO public.users (id, azure_oid, email) VALUES ('{USER}', 'alpha', 'alpha@example.org');
INSERT INTO public.mcp_servers (id, name, image) VALUES ('{SERVER}', 'tool', 'x');
INSERT INTO public.user_server_configs (id, user_id, server_id) VALUES ('{CONFIG}', '{USER}', '{SERVER}')
"""

CONFIGURED = {"op": "update", "id": CONFIG, "user_id": USER, "server_id": SERVER}
SECRET = "public.encrypt_sensitive_data('a secret', repeat('k', 16))"

Connection = psycopg.Connection[Any]
Heard = list[tuple[str, dict[str, str]]]


@pytest.fixture
def portal(make_database: MakeDatabase) -> str:
    """Make a database with a user, a server and a configuration."""
    url = make_database(migrate=True)
    with psycopg.connect(url) as connection:
        for statement in PORTAL.split(";"):
            connection.execute(statement.encode())
    return url


@pytest.fixture
def listener(portal: str, login: Login) -> Iterator[Connection]:
    """Listen on every channel, as a service does."""
    with psycopg.connect(login(portal, "portal_app"), autocommit=True) as connection:
        for channel in CHANNELS:
            connection.execute(f"LISTEN {channel}".encode())
        yield connection


@pytest.fixture
def writer(portal: str) -> Iterator[Connection]:
    """Write, as whoever may."""
    with psycopg.connect(portal, autocommit=True) as connection:
        yield connection


def heard(listener: Connection, writer: Connection) -> Heard:
    """Return what was sent before now: messages arrive in the order of the commits, and the last one is ours."""
    writer.execute("NOTIFY portal_user, 'that is all'")
    found: Heard = []
    for message in listener.notifies(timeout=30):
        if message.payload == "that is all":
            return found
        found.append((message.channel, json.loads(message.payload)))
    pytest.fail("waited 30 s in vain for the last message")


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE public.user_server_configs SET enabled = true", ("portal_config", CONFIGURED)),
        (f"UPDATE public.user_server_configs SET encrypted_config = {SECRET}", ("portal_config", CONFIGURED)),
        ("UPDATE public.user_server_configs SET config_metadata = '{\"a\": 1}'", ("portal_config", CONFIGURED)),
        ("UPDATE public.user_server_configs SET container_state = 'running'", ("portal_state", CONFIGURED)),
        ("DELETE FROM public.user_server_configs", ("portal_config", {**CONFIGURED, "op": "delete"})),
        ("UPDATE public.mcp_servers SET image = 'y'", ("portal_catalog", {"op": "update", "id": SERVER})),
        ("UPDATE public.mcp_servers SET is_active = false", ("portal_catalog", {"op": "update", "id": SERVER})),
        ("UPDATE public.mcp_servers SET tags = '{a}'", ("portal_catalog", {"op": "update", "id": SERVER})),
        ("UPDATE public.users SET role = 'team_admin'", ("portal_user", {"op": "update", "id": USER})),
        ("UPDATE public.users SET is_active = false", ("portal_user", {"op": "update", "id": USER})),
        ("UPDATE public.users SET is_active = NULL", ("portal_user", {"op": "update", "id": USER})),
    ],
)
def test_feed_tells_a_change_once(
    listener: Connection, writer: Connection, statement: str, message: tuple[str, dict[str, str]]
) -> None:
    """A change is heard once, with ids and nothing else of the row."""
    name = statement.split()[2 if statement.startswith("DELETE") else 1].removeprefix("public.")
    key = {"users": USER, "mcp_servers": SERVER, "user_server_configs": CONFIG}[name]
    writer.execute(f"{statement} WHERE id = '{key}'".encode())
    assert heard(listener, writer) == [message]


def test_feed_tells_of_what_is_made(listener: Connection, writer: Connection) -> None:
    """A server and a configuration are told of when they are made, and again when they go together."""
    row = writer.execute(
        "INSERT INTO public.mcp_servers (name, image) VALUES ('new', 'x') RETURNING id::text"
    ).fetchone()
    assert row is not None
    (server,) = row
    row = writer.execute(
        "INSERT INTO public.user_server_configs (user_id, server_id) VALUES (%s, %s) RETURNING id::text", (USER, server)
    ).fetchone()
    assert row is not None
    ids = {"id": row[0], "user_id": USER, "server_id": server}
    assert heard(listener, writer) == [
        ("portal_catalog", {"op": "insert", "id": server}),
        ("portal_config", {"op": "insert", **ids}),
    ]
    writer.execute("DELETE FROM public.mcp_servers WHERE id = %s", (server,))
    told = heard(listener, writer)
    assert sorted(told, key=str) == sorted(
        [("portal_catalog", {"op": "delete", "id": server}), ("portal_config", {"op": "delete", **ids})], key=str
    )


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE public.user_server_configs SET enabled = enabled, config_metadata = config_metadata",
        "UPDATE public.user_server_configs SET container_id = 'x', last_state_change = CURRENT_TIMESTAMP",
        "UPDATE public.user_server_configs SET container_state = container_state",
        "UPDATE public.mcp_servers SET image = image, updated_at = CURRENT_TIMESTAMP",
        "UPDATE public.users SET display_name = 'A', last_login_at = CURRENT_TIMESTAMP, role = role",
        "INSERT INTO public.users (azure_oid, email) VALUES ('new', 'new@example.org')",
    ],
)
def test_feed_is_silent_where_nothing_changed(listener: Connection, writer: Connection, statement: str) -> None:
    """What writes what was there, or what nobody waits for, is not told."""
    writer.execute(statement.encode())
    assert heard(listener, writer) == []


def test_feed_is_silent_about_what_is_undone(listener: Connection, writer: Connection) -> None:
    """A transaction that is rolled back is not told, nor what a savepoint took back."""
    with writer.transaction(force_rollback=True):
        writer.execute("UPDATE public.user_server_configs SET enabled = true")
    with writer.transaction():
        writer.execute("UPDATE public.users SET role = 'team_admin' WHERE id = %s", (USER,))
        with writer.transaction(force_rollback=True):
            writer.execute("UPDATE public.user_server_configs SET enabled = true")
    assert heard(listener, writer) == [("portal_user", {"op": "update", "id": USER})]


def test_feed_waits_for_the_commit(listener: Connection, writer: Connection) -> None:
    """Who hears of a change finds it in the table: the message does not come before the commit."""
    with writer.transaction():
        writer.execute("UPDATE public.user_server_configs SET enabled = true")
        assert list(listener.notifies(timeout=0.3)) == []
    assert heard(listener, writer) == [("portal_config", CONFIGURED)]
