"""Sixteen clients at once, whose calls cross each other's rows: no update is lost, and each is audited once.

Each client counts what was committed for it and what that audits; at the end the trail has those entries and no other.
A deadlock or a serialisation failure is PostgreSQL's to report and the client's to try again.
"""

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from conftest import MakeDatabase
from psycopg import errors
from psycopg.types.json import Jsonb
from support import ask, one

Connection = psycopg.Connection[Any]

CLIENTS, USERS, SERVERS = 16, 6, 8
AGAIN = (errors.DeadlockDetected, errors.SerializationFailure)
"""What is tried again."""
MEANWHILE = {"PT401", "PT403", "PT404", "PT409"}
"""What another client's change makes of a call: nobody acts any more, may no more, is there no more, or came first."""

PORTAL = f"""
INSERT INTO public.users (azure_oid, email, role)
SELECT 'user ' || n, n || '@example.org', CASE WHEN n <= 2 THEN 'super_admin' ELSE 'standard_user' END
FROM generate_series(1, {USERS}) AS n;
INSERT INTO public.mcp_servers (name, image) SELECT 'server ' || n, 'x' FROM generate_series(1, {SERVERS}) AS n;
INSERT INTO public.user_server_configs (user_id, server_id, config_metadata)
SELECT u.id, s.id, '{{"n": 0}}' FROM public.users AS u, public.mcp_servers AS s WHERE s.name = 'server 1';
INSERT INTO public.teams (name) VALUES ('team 1'), ('team 2');
INSERT INTO public.team_members (team_id, user_id, role)
SELECT t.id, u.id, 'admin' FROM public.teams AS t, public.users AS u WHERE u.azure_oid IN ('user 1', 'user 3')
"""


@dataclass
class Client:
    """One connection, what it has seen committed, and what was not."""

    connection: Connection
    chance: random.Random
    users: list[str]
    servers: list[str]
    teams: list[str]
    audited: Counter[str] = field(default_factory=Counter)
    counted: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    again: int = 0
    tokens: list[tuple[str, str]] = field(default_factory=list)

    def rows(self, query: str, *values: object) -> list[Any]:
        """Run a query."""
        return self.connection.execute(query.encode(), values or None).fetchall()

    def value(self, query: str, *values: object) -> Any:  # noqa: ANN401 - a value of the database
        """Return a query's one value."""
        ((value,),) = self.rows(query, *values)
        return value

    def act(self, user: str | None = None) -> str:
        """Make somebody the user of the transaction."""
        chosen = user or self.chance.choice(self.users)
        self.rows("SELECT public.set_app_context(%s, '192.0.2.1', 'soak')", chosen)
        return chosen


Step = Callable[[Client], Counter[str]]


def sign_in(client: Client) -> Counter[str]:
    """Come in, with another name each time, and open a session."""
    number = client.chance.randrange(USERS) + 1
    client.rows("SELECT public.set_app_context(NULL, '192.0.2.1', 'soak')")
    ((outcome, is_new),) = client.rows(
        "SELECT outcome, is_new FROM public.sign_in(%s, %s, %s)",
        f"user {number}", f"{number}@example.org", f"{client.chance.random()}",
    )  # fmt: skip
    assert not is_new
    if outcome == "refused":
        return Counter(login_refused=1)
    ((session, refresh),) = client.rows("SELECT session_token, refresh_token FROM public.create_session()")
    client.tokens.append((session, refresh))
    return Counter(login=1, user_updated=1)


def authenticate(client: Client) -> Counter[str]:
    """Show the token of a session, which may have ended."""
    if client.tokens:
        session, _ = client.chance.choice(client.tokens)
        client.rows("SELECT * FROM public.authenticate(%s)", session)
    return Counter()


def refresh(client: Client) -> Counter[str]:
    """Refresh a session, perhaps with a token that was used."""
    if not client.tokens:
        return Counter()
    _, token = client.chance.choice(client.tokens)
    ((outcome, session, new),) = client.rows(
        "SELECT outcome, session_token, refresh_token FROM public.refresh_session(%s)", token
    )
    if outcome == "refreshed":
        client.tokens.append((session, new))
    return Counter(session_reuse_detected=int(outcome == "reused"))


def end_all(client: Client) -> Counter[str]:
    """Sign out everywhere, oneself or another."""
    client.act()
    other = client.chance.choice([None, *client.users])
    return Counter(logout=int(client.value("SELECT public.end_all_sessions(%s)", other) > 0))


def switch(client: Client) -> Counter[str]:
    """Switch one server on or off."""
    client.act()
    name = client.chance.choice(("enable", "disable"))
    ((outcome,),) = client.rows(f"SELECT outcome FROM public.{name}_server(%s)", client.chance.choice(client.servers))
    return Counter({f"server_{name}d": int(outcome == f"{name}d")})


def bulk(client: Client) -> Counter[str]:
    """Switch several on or off, in whatever order."""
    client.act()
    name = client.chance.choice(("enable", "disable"))
    some = client.chance.sample(client.servers, client.chance.randrange(1, SERVERS + 1))
    found = client.rows(f"SELECT outcome FROM public.bulk_{name}(%s::uuid[])", some)
    return Counter({f"bulk_{name}": int((f"{name}d",) in found)})


def count(client: Client) -> Counter[str]:
    """Add one to a number that several clients add to, as a service does that has read it before."""
    user = client.act()
    found = client.rows(
        "SELECT server_id, config_metadata ->> 'n', updated_at FROM public.user_server_configs "
        "WHERE user_id = %s AND config_metadata ? 'n'", user,
    )  # fmt: skip
    if not found:  # who is shut out sees nothing
        return Counter()
    ((server, number, seen),) = found
    client.connection.commit()
    client.act(user)
    client.rows(
        "SELECT * FROM public.update_server_config(%s, p_config_metadata => %s, p_expected_updated_at => %s)",
        server, Jsonb({"n": int(number) + 1}), seen,
    )  # fmt: skip
    client.counted[user] += 1
    return Counter(config_updated=1)


def restart(client: Client) -> Counter[str]:
    """Ask for a restart of one's own."""
    user = client.act()
    found = client.rows("SELECT id FROM public.user_server_configs WHERE user_id = %s AND enabled LIMIT 1", user)
    for (config,) in found:
        client.rows("SELECT public.request_server_restart(%s)", config)
    return Counter(server_restart_requested=len(found))


def role(client: Client) -> Counter[str]:
    """Change the role of somebody."""
    client.act()
    outcome = client.value(
        "SELECT public.set_user_role(%s, %s)",
        client.chance.choice(client.users), client.chance.choice(("super_admin", "team_admin", "standard_user")),
    )  # fmt: skip
    return Counter(role_changed=int(outcome == "changed"))


def shut(client: Client) -> Counter[str]:
    """Shut somebody out, or let them in again."""
    client.act()
    name = client.chance.choice(("deactivate", "reactivate", "reactivate"))
    outcome = client.value(f"SELECT public.{name}_user(%s)", client.chance.choice(client.users))
    return Counter({f"user_{name}d": int(outcome == f"{name}d")})


def move(client: Client) -> Counter[str]:
    """Export what one has and import it over what another has."""
    client.act()
    document = client.value("SELECT public.export_configs()")
    # The number that is counted stays out of it.
    document["configs"] = [each for each in document["configs"] if each["name"] != "server 1"]
    client.act()
    found = client.rows("SELECT outcome FROM public.import_configs(%s, false, true)", Jsonb(document))
    return Counter(config_exported=1, config_imported=int(("imported",) in found))


def invite(client: Client) -> Counter[str]:
    """Invite somebody into a team."""
    client.act()
    team, user = client.chance.choice(client.teams), client.chance.choice(client.users)
    outcome = client.value("SELECT public.invite_team_member(%s, %s)", team, user)
    return Counter(team_member_invited=int(outcome == "invited"))


def answer(client: Client) -> Counter[str]:
    """Accept an invitation, or decline it."""
    client.act()
    name = client.chance.choice(("accept", "accept", "decline"))
    outcome = client.value(f"SELECT public.{name}_team_invitation(%s)", client.chance.choice(client.teams))
    if name == "decline":
        return Counter(team_invitation_withdrawn=1)
    return Counter(team_member_joined=int(outcome == "joined"))


def lead(client: Client) -> Counter[str]:
    """Make somebody a team's admin or take it from them, or leave."""
    client.act()
    team, user = client.chance.choice(client.teams), client.chance.choice(client.users)
    if client.chance.random() < 0.3:
        client.value("SELECT public.leave_team(%s)", team)
        return Counter(team_member_removed=1)
    outcome = client.value(
        "SELECT public.set_team_role(%s, %s, %s)", team, user, client.chance.choice(("admin", "member"))
    )
    return Counter(team_role_changed=int(outcome == "changed"))


STEPS: list[Step] = [
    sign_in, authenticate, authenticate, refresh, end_all, switch, bulk, bulk, count, count, restart, role, shut, move,
    invite, answer, lead,
]  # fmt: skip


def work(client: Client, until: float) -> None:
    """Take steps at random until the time is over; whatever happens, nobody waits for this client afterwards."""
    with client.connection:
        steps(client, until)


def steps(client: Client, until: float) -> None:
    """Take steps, and count those that were committed."""
    while time.monotonic() < until:
        step = client.chance.choice(STEPS)
        tokens, counted = len(client.tokens), Counter(client.counted)
        try:
            audited = step(client)
            client.connection.commit()
        except AGAIN:
            client.again += 1
        except psycopg.Error as error:
            assert error.sqlstate in MEANWHILE, f"{step.__name__}: {error.sqlstate} {error}"
            client.calls[f"{step.__name__} {error.sqlstate}"] += 1
        else:
            client.audited += audited
            client.calls[step.__name__] += 1
            continue
        client.connection.rollback()
        del client.tokens[tokens:]
        client.counted = counted


@pytest.mark.parametrize("seconds", [10, pytest.param(60, marks=pytest.mark.soak)])
def test_sixteen_clients_lose_no_update_and_audit_each_call_once(
    make_database: MakeDatabase, seed: int, seconds: int
) -> None:
    """The trail is what the clients saw committed, and the numbers that they count are what they counted."""
    url = make_database(migrate=True)
    for statement in PORTAL.split(";\n"):
        ask(url, statement)
    users = ask(url, "SELECT id::text FROM public.users ORDER BY azure_oid")
    servers = ask(url, "SELECT id::text FROM public.mcp_servers WHERE name LIKE 'server %%' ORDER BY 1")
    teams = ask(url, "SELECT id::text FROM public.teams ORDER BY 1")
    clients = []
    for number in range(CLIENTS):
        connection = psycopg.connect(url, options="-c role=portal_app -c deadlock_timeout=100ms")
        chance = random.Random(seed + number)  # noqa: S311 - no secret
        clients.append(Client(connection, chance, users, servers, teams))
    until = time.monotonic() + seconds
    with ThreadPoolExecutor(CLIENTS) as pool:
        for done in [pool.submit(work, client, until) for client in clients]:
            done.result()
    audited: Counter[str] = sum((client.audited for client in clients), Counter())
    assert dict(ask(url, "SELECT action, count(*) FROM public.audit_logs GROUP BY action")) == dict(+audited)
    counted: Counter[str] = sum((client.counted for client in clients), Counter())
    found = ask(
        url,
        "SELECT user_id::text, (config_metadata ->> 'n')::integer FROM public.user_server_configs "
        "WHERE config_metadata ? 'n'",
    )
    assert {user: number for user, number in found if number} == dict(counted)
    assert one(url, "SELECT count(*) FROM public.users WHERE role = 'super_admin' AND is_active") >= 1
    led = "SELECT count(DISTINCT team_id) FROM public.team_members WHERE role = 'admin'"
    assert one(url, led) == len(teams)
    calls: Counter[str] = sum((client.calls for client in clients), Counter())
    again = sum(client.again for client in clients)
    print(f"{sum(calls.values())} calls, {again} tried again: {dict(calls)}")  # noqa: T201 - seen with -s
    assert {step.__name__ for step in STEPS} <= {*calls}, f"not every function was of use: {calls}"
