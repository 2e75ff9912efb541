"""A service in Python: sign in, enable a server, read the dashboard, export, sign out.

    DATABASE_URL=postgresql://…:6432/mcp_portal PORTALDB_KEYS_FILE=keys.json python client.py

Each request of a person is one transaction, so it works behind PgBouncer in transaction mode. The same with
asyncio: client_async.py.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg.rows import dict_row

from portaldb.encryption import Keyring, config_context, encrypt

Connection = psycopg.Connection[dict[str, Any]]
Row = dict[str, Any]

AGAIN = {"40001", "40P01", "55P03", "57014"}
"""Nothing is wrong with the request: run the whole transaction again."""

STATUS = {"42501": 403, "23505": 409, "23514": 400, "22P02": 400}
"""The HTTP status of an SQLSTATE; class PT carries its own."""

ATTEMPTS = 3

ADDRESS, PROGRAM = "192.0.2.1", "examples/python"


class ApiError(Exception):
    """What a service answers: an HTTP status, and a sentence for people."""

    def __init__(self, status: int, said: str, hint: str | None = None) -> None:
        super().__init__(f"{status} {said}")
        self.status, self.hint = status, hint


def api_error(error: psycopg.Error) -> ApiError:
    """Map an error of the database by its SQLSTATE alone, never by its text."""
    state = error.sqlstate or ""
    status = int(state[2:]) if state.startswith("PT") else 503 if state in AGAIN else STATUS.get(state, 500)
    return ApiError(status, error.diag.message_primary or "no connection", error.diag.message_hint)


def one(connection: Connection, query: str, values: list[Any] | None = None) -> Row:
    """Return the one row of a query."""
    row = connection.execute(query.encode(), values or []).fetchone()
    if row is None:
        raise ApiError(404, "there is no such row")
    return row


def transaction(connection: Connection, work: Callable[[], Row]) -> Row:
    """Do some work in a transaction, and all of it again where only its moment was wrong."""
    attempt = 1
    while True:
        try:
            with connection.transaction():
                return work()
        except psycopg.Error as error:
            if error.sqlstate not in AGAIN or attempt == ATTEMPTS:
                raise api_error(error) from error
            time.sleep(0.05 * 2**attempt)
        attempt += 1


def sign_in(connection: Connection, azure_oid: str, email: str, name: str) -> Row:
    """Let a person in whom Azure has told us of, and return the tokens of a new session."""

    def work() -> Row:
        connection.execute("SELECT set_app_context(NULL, %s, %s)", [ADDRESS, PROGRAM])
        user = one(connection, "SELECT * FROM sign_in(%s, %s, %s)", [azure_oid, email, name])
        return user | (one(connection, "SELECT * FROM create_session()") if user["outcome"] == "signed_in" else {})

    person = transaction(connection, work)
    # Asked after the COMMIT: the refusal is audited, and an exception within would have undone that.
    if person["outcome"] != "signed_in":
        raise ApiError(403, "the user is deactivated")
    return person


def request(connection: Connection, token: str, work: Callable[[Row], Row]) -> Row:
    """Do some work as whoever the token is of."""

    def authenticated() -> Row:
        return work(one(connection, "SELECT * FROM authenticate(%s, %s, %s)", [token, ADDRESS, PROGRAM]))

    return transaction(connection, authenticated)


def enable(connection: Connection, token: str, server: str, secret: str, keyring: Keyring) -> Row:
    """Store a secret for a server, which the database sees encrypted alone, and switch the server on."""

    def work(user: Row) -> Row:
        found = one(connection, "SELECT id FROM mcp_servers WHERE name = %s AND is_active", [server])
        value = encrypt(secret, keyring, context=config_context(user["user_id"], found["id"]))
        one(connection, "SELECT * FROM update_server_config(%s, p_encrypted_config => %s)", [found["id"], value])
        return one(connection, "SELECT outcome FROM enable_server(%s)", [found["id"]])

    return request(connection, token, work)


def dashboard(connection: Connection, token: str) -> Row:
    """Return what a start page shows."""
    return request(
        connection,
        token,
        lambda user: one(
            connection,
            "SELECT display_name, total_servers, enabled_servers FROM user_dashboard WHERE user_id = %s",
            [user["user_id"]],
        ),
    )


def export(connection: Connection, token: str) -> Row:
    """Return the person's settings, without a secret."""
    exported = request(connection, token, lambda _: one(connection, "SELECT export_configs() AS document"))
    document: Row = exported["document"]
    return document


def sign_out(connection: Connection, token: str) -> Row:
    """End the session, and all that continued it."""
    return request(connection, token, lambda _: one(connection, "SELECT end_session() AS ended"))


def main() -> None:
    """Do all of it once, and print each answer as a line of JSON."""
    keyring = Keyring.load()
    # Prepared statements belong to a backend, and the pooler gives each transaction another one.
    with psycopg.connect(
        os.environ["DATABASE_URL"], autocommit=True, prepare_threshold=None, row_factory=dict_row
    ) as connection:

        def say(step: str, answer: Row) -> None:
            sys.stdout.write(json.dumps({"step": step, **answer}, default=str) + "\n")

        person = sign_in(connection, "00000000-0000-0000-66f3-3332eca7ea81", "ada@example.org", "Ada")
        token = person["session_token"]
        say("sign in", {"outcome": person["outcome"], "is_new": person["is_new"]})
        say("enable", enable(connection, token, "github", '{"token": "not a real one"}', keyring))
        say("dashboard", dashboard(connection, token))
        say("export", export(connection, token))
        try:
            enable(connection, token, "no such server", "x", keyring)
        except ApiError as error:
            say("no such server", {"status": error.status})
        say("sign out", sign_out(connection, token))
        try:
            dashboard(connection, token)
        except ApiError as error:
            say("after it", {"status": error.status, "said": str(error), "hint": error.hint})


if __name__ == "__main__":
    main()
