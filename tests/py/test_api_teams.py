"""Two who change one team at once: whoever comes second sees what the first did, and a team keeps an admin."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from conftest import MakeDatabase
from psycopg import IsolationLevel
from support import ask, one, until, waits_for_lock

TEAM = "1a000000-0000-0000-0000-000000000001"
ALPHA, BETA, GAMMA = (f"{n}0000000-0000-0000-0000-000000000001" for n in "abc")

PORTAL = f"""
INSERT INTO public.users (id, azure_oid, email)
VALUES ('{ALPHA}', 'alpha', 'a@x.org'), ('{BETA}', 'beta', 'b@x.org'), ('{GAMMA}', 'gamma', 'c@x.org');
INSERT INTO public.teams (id, name) VALUES ('{TEAM}', 'team');
INSERT INTO public.team_members (team_id, user_id, role)
VALUES ('{TEAM}', '{ALPHA}', 'admin'), ('{TEAM}', '{BETA}', 'admin');
INSERT INTO public.team_invitations (team_id, user_id, invited_by) VALUES ('{TEAM}', '{GAMMA}', '{ALPHA}')
"""

ACTIVE_ADMINS = "SELECT count(*) FROM public.team_members WHERE role = 'admin'"

Connection = psycopg.Connection[Any]


@pytest.fixture
def portal(make_database: MakeDatabase) -> str:
    """Make a database with a team of two admins, and one who is invited."""
    url = make_database(migrate=True)
    with psycopg.connect(url) as connection:
        for statement in PORTAL.split(";"):
            connection.execute(statement.encode())
    return url


@pytest.fixture
def first(portal: str) -> Iterator[Connection]:
    """Connect who comes first."""
    with psycopg.connect(portal) as connection:
        yield connection


@pytest.fixture
def second(portal: str) -> Iterator[Connection]:
    """Connect who comes second."""
    with psycopg.connect(portal, application_name="second") as connection:
        yield connection


def call(connection: Connection, user: str, statement: str) -> str:
    """Call a function in a user's name, in the transaction that is open; return its outcome, or the SQLSTATE."""
    connection.execute("SET LOCAL ROLE portal_app")
    connection.execute("SELECT public.set_app_context(%s::uuid)", (user,))
    try:
        row = connection.execute(statement.encode()).fetchone()
    except psycopg.Error as error:
        connection.rollback()
        return error.sqlstate or ""
    assert row is not None
    return str(row[0])


def both(
    url: str, first: Connection, second: Connection, one_does: tuple[str, str], other_does: tuple[str, str]
) -> tuple[str, str]:
    """Let the second wait for the first, who then commits; return what came of each."""
    waits: Callable[[], bool] = waits_for_lock(url, "second")
    second.execute("SELECT 1 FROM public.teams")  # where a snapshot is kept, it is from before
    outcome = call(first, *one_does)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(call, second, *other_does)
        until(waits, "the second waits for the first")
        first.commit()
        other = waiting.result(timeout=30)
    second.commit()
    return outcome, other


@pytest.mark.parametrize(
    ("level", "refused"), [(IsolationLevel.READ_COMMITTED, "PT403"), (IsolationLevel.REPEATABLE_READ, "40001")]
)
def test_teams_keep_an_admin_when_two_demote_each_other(
    portal: str, first: Connection, second: Connection, level: IsolationLevel, refused: str
) -> None:
    """Of two admins who demote each other one remains, whatever the level of isolation."""
    second.isolation_level = level
    demote = f"SELECT public.set_team_role('{TEAM}', '{{}}', 'member')"
    outcomes = both(portal, first, second, (ALPHA, demote.format(BETA)), (BETA, demote.format(ALPHA)))
    assert outcomes == ("changed", refused)
    assert one(portal, ACTIVE_ADMINS) == 1


@pytest.mark.parametrize(
    ("level", "refused"), [(IsolationLevel.READ_COMMITTED, "PT409"), (IsolationLevel.REPEATABLE_READ, "40001")]
)
def test_teams_keep_an_admin_when_both_leave(
    portal: str, first: Connection, second: Connection, level: IsolationLevel, refused: str
) -> None:
    """Of two admins who leave at once the second stays."""
    second.isolation_level = level
    leave = f"SELECT public.leave_team('{TEAM}')"
    assert both(portal, first, second, (ALPHA, leave), (BETA, leave)) == ("left", refused)
    assert one(portal, ACTIVE_ADMINS) == 1


def test_teams_let_nobody_into_one_that_is_disbanded(portal: str, first: Connection, second: Connection) -> None:
    """Who accepts while the team is disbanded is not in it."""
    disband = f"SELECT public.disband_team('{TEAM}')"
    accept = f"SELECT public.accept_team_invitation('{TEAM}')"
    assert both(portal, first, second, (ALPHA, disband), (GAMMA, accept)) == ("disbanded", "PT404")
    assert one(portal, "SELECT count(*) FROM public.team_members WHERE user_id = %s::uuid", GAMMA) == 0


def test_teams_audit_one_invitation_of_two(portal: str, first: Connection, second: Connection) -> None:
    """Two admins who withdraw one invitation at once withdraw it once."""
    withdraw = f"SELECT public.withdraw_team_invitation('{TEAM}', '{GAMMA}')"
    assert both(portal, first, second, (ALPHA, withdraw), (BETA, withdraw)) == ("withdrawn", "PT404")
    assert ask(portal, "SELECT action FROM public.audit_logs") == ["team_invitation_withdrawn"]


def test_teams_promote_nobody_who_has_left(portal: str, first: Connection, second: Connection) -> None:
    """A member who leaves while they are promoted either stays as an admin or is gone, and is never the last."""
    with psycopg.connect(portal) as connection:
        connection.execute("UPDATE public.team_members SET role = 'member' WHERE user_id = %s", (BETA,))
    promote = f"SELECT public.set_team_role('{TEAM}', '{BETA}', 'admin')"
    leave = f"SELECT public.leave_team('{TEAM}')"
    assert both(portal, first, second, (ALPHA, promote), (BETA, leave)) == ("changed", "left")
    assert one(portal, ACTIVE_ADMINS) == 1
