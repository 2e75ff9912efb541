"""A service in Python with asyncio: sign in, enable a server, read the dashboard and export at once, sign out.

    DATABASE_URL=postgresql://…:6432/mcp_portal PORTALDB_KEYS_FILE=keys.json python client_async.py

What is told in client.py is not told again: errors are mapped as there.
"""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
from client import ADDRESS, AGAIN, ATTEMPTS, PROGRAM, ApiError, api_error
from psycopg.rows import dict_row

from portaldb.encryption import Keyring, config_context, encrypt

Connection = psycopg.AsyncConnection[dict[str, Any]]
Row = dict[str, Any]


async def connect() -> Connection:
    """Open a connection to the pooler: it is cheap, and serves one transaction at a time."""
    return await psycopg.AsyncConnection.connect(
        os.environ["DATABASE_URL"], autocommit=True, prepare_threshold=None, row_factory=dict_row
    )


async def one(connection: Connection, query: str, values: list[Any] | None = None) -> Row:
    """Return the one row of a query."""
    row = await (await connection.execute(query.encode(), values or [])).fetchone()
    if row is None:
        raise ApiError(404, "there is no such row")
    return row


async def transaction(work: Callable[[Connection], Awaitable[Row]]) -> Row:
    """Do some work in a transaction, and all of it again where only its moment was wrong."""
    attempt = 1
    while True:
        try:
            async with await connect() as connection, connection.transaction():
                return await work(connection)
        except psycopg.Error as error:
            if error.sqlstate not in AGAIN or attempt == ATTEMPTS:
                raise api_error(error) from error
            await asyncio.sleep(0.05 * 2**attempt)
        attempt += 1


async def sign_in(azure_oid: str, email: str, name: str) -> Row:
    """Let a person in whom Azure has told us of, and return the tokens of a new session."""

    async def work(connection: Connection) -> Row:
        await connection.execute("SELECT set_app_context(NULL, %s, %s)", [ADDRESS, PROGRAM])
        user = await one(connection, "SELECT * FROM sign_in(%s, %s, %s)", [azure_oid, email, name])
        if user["outcome"] == "signed_in":
            user |= await one(connection, "SELECT * FROM create_session()")
        return user

    person = await transaction(work)
    if person["outcome"] != "signed_in":
        raise ApiError(403, "the user is deactivated")
    return person


async def request(token: str, work: Callable[[Connection, Row], Awaitable[Row]]) -> Row:
    """Do some work as whoever the token is of."""

    async def authenticated(connection: Connection) -> Row:
        user = await one(connection, "SELECT * FROM authenticate(%s, %s, %s)", [token, ADDRESS, PROGRAM])
        return await work(connection, user)

    return await transaction(authenticated)


async def enable(token: str, server: str, secret: str, keyring: Keyring) -> Row:
    """Store a secret for a server, which the database sees encrypted alone, and switch the server on."""

    async def work(connection: Connection, user: Row) -> Row:
        found = await one(connection, "SELECT id FROM mcp_servers WHERE name = %s AND is_active", [server])
        value = encrypt(secret, keyring, context=config_context(user["user_id"], found["id"]))
        await one(connection, "SELECT * FROM update_server_config(%s, p_encrypted_config => %s)", [found["id"], value])
        return await one(connection, "SELECT outcome FROM enable_server(%s)", [found["id"]])

    return await request(token, work)


async def dashboard(token: str) -> Row:
    """Return what a start page shows."""
    query = "SELECT display_name, total_servers, enabled_servers FROM user_dashboard WHERE user_id = %s"
    return await request(token, lambda connection, user: one(connection, query, [user["user_id"]]))


async def export(token: str) -> Row:
    """Return the person's settings, without a secret."""
    exported = await request(token, lambda connection, _: one(connection, "SELECT export_configs() AS document"))
    document: Row = exported["document"]
    return document


async def sign_out(token: str) -> Row:
    """End the session, and all that continued it."""
    return await request(token, lambda connection, _: one(connection, "SELECT end_session() AS ended"))


async def main() -> None:
    """Do all of it once, and print each answer as a line of JSON."""
    keyring = Keyring.load()

    def say(step: str, answer: Row) -> None:
        sys.stdout.write(json.dumps({"step": step, **answer}, default=str) + "\n")

    person = await sign_in("00000000-0000-0000-66f3-3332eca7ea81", "ada@example.org", "Ada")
    token = person["session_token"]
    say("sign in", {"outcome": person["outcome"], "is_new": person["is_new"]})
    say("enable", await enable(token, "github", '{"token": "not a real one"}', keyring))
    shown, exported = await asyncio.gather(dashboard(token), export(token))
    say("dashboard", shown)
    say("export", exported)
    try:
        await enable(token, "no such server", "x", keyring)
    except ApiError as error:
        say("no such server", {"status": error.status})
    say("sign out", await sign_out(token))
    try:
        await dashboard(token)
    except ApiError as error:
        say("after it", {"status": error.status, "said": str(error), "hint": error.hint})


if __name__ == "__main__":
    asyncio.run(main())
