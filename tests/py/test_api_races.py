"""Two calls that cross: the second waits for the first, and tells afterwards what is true by then.

Each was seen to go wrong once: a function that looks, waits and goes on must not go on with what it saw.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from api import call, in_background, person, service
from conftest import MakeDatabase
from support import ask, one

TEAM, SERVER = (f"{n}a000000-0000-0000-0000-000000000001" for n in "12")

PORTAL = f"""
INSERT INTO public.mcp_servers (id, name, image) VALUES ('{SERVER}', 'server', 'x');
INSERT INTO public.teams (id, name) VALUES ('{TEAM}', 'team');
INSERT INTO public.user_server_configs (user_id, server_id) SELECT id, '{SERVER}' FROM public.users;
INSERT INTO public.team_members (team_id, user_id, role)
SELECT '{TEAM}', id, CASE azure_oid WHEN 'mate' THEN 'member' ELSE 'admin' END
FROM public.users WHERE azure_oid IN ('lead', 'mate', 'sam');
INSERT INTO public.team_invitations (team_id, user_id, invited_by, role)
SELECT '{TEAM}', guest.id, lead.id, 'admin'
FROM public.users AS guest, public.users AS lead WHERE guest.azure_oid = 'guest' AND lead.azure_oid = 'lead'
"""


@dataclass(frozen=True)
class Portal:
    """A database, and the ids of who is in it."""

    url: str
    users: dict[str, str]

    def filled(self, statement: str) -> str:
        """Put ids where a statement has names in braces."""
        return statement.format(**self.users, team=TEAM, server=SERVER)


@pytest.fixture
def portal(make_database: MakeDatabase) -> Portal:
    """Make a team with an admin, a member, one who is invited as admin, and sam, a super_admin who leads it too."""
    url = make_database(migrate=True)
    roles = {"lead": "team_admin", "mate": "standard_user", "guest": "standard_user", "sam": "super_admin"}
    users = {name: person(url, name, role) for name, role in roles.items()}
    for statement in PORTAL.split(";\n"):
        ask(url, statement)
    return Portal(url, users)


def answer(portal: Portal, who: str, statement: str) -> Any:  # noqa: ANN401 - a value, or the SQLSTATE
    """Do something in somebody's name and commit it; return what came back, how many rows changed, or the SQLSTATE."""
    with service(portal.url, portal.users[who], "second") as connection:
        try:
            cursor = connection.execute(portal.filled(statement).encode())
        except psycopg.Error as error:
            return error.sqlstate
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else cursor.rowcount


CROSSING = {
    "an erased user's name does not come back": (
        ("lead", "SELECT public.erase_user('{lead}')"),
        ("lead", "UPDATE public.users SET display_name = 'Ada' WHERE id = '{lead}'"), 0,
        "SELECT count(*) FROM public.users WHERE display_name IS NOT NULL", 0,
    ),
    "who left meanwhile gets no role": (
        ("mate", "SELECT public.leave_team('{team}')"),
        ("lead", "SELECT public.set_team_role('{team}', '{mate}', 'admin')"), "PT404",
        "SELECT count(*) FROM public.audit_logs WHERE action = 'team_role_changed'", 0,
    ),
    "an erased admin invites nobody": (
        ("lead", "SELECT public.erase_user('{lead}')"),
        ("lead", "SELECT public.invite_team_member('{team}', '{guest}', 'member')"), "PT401",
        "SELECT count(*) FROM public.team_invitations", 0,
    ),
    "an erased user makes no team": (
        ("lead", "SELECT public.erase_user('{lead}')"),
        ("lead", "SELECT public.create_team('mine')"), "PT401",
        "SELECT count(*) FROM public.teams", 1,
    ),
    "an erased user opens no session": (
        ("lead", "SELECT public.erase_user('{lead}')"),
        ("lead", "SELECT session_id FROM public.create_session()"), "PT401",
        "SELECT count(*) FROM public.user_sessions", 0,
    ),
    "a deactivated user switches nothing on": (
        ("sam", "SELECT public.deactivate_user('{mate}')"),
        ("mate", "SELECT outcome FROM public.enable_server('{server}')"), "PT401",
        "SELECT count(*) FROM public.user_server_configs WHERE enabled", 0,
    ),
    "who is deactivated while opening a session has none": (
        ("mate", "SELECT session_id FROM public.create_session()"),
        ("sam", "SELECT public.deactivate_user('{mate}')"), "deactivated",
        "SELECT count(*) FROM public.user_sessions WHERE is_active", 0,
    ),
    "an invitation that is being accepted is not sent again": (
        ("guest", "SELECT public.accept_team_invitation('{team}')"),
        ("lead", "SELECT public.disband_team('{team}')"), "disbanded",
        "SELECT count(*) FROM public.team_invitations", 0,
    ),
    "who became a super_admin meanwhile is not erased as the last": (
        ("sam", "SELECT public.set_user_role('{mate}', 'super_admin')"),
        ("mate", "SELECT public.erase_user('{mate}')"), "erased",
        "SELECT count(*) FROM public.users WHERE role = 'super_admin' AND is_active", 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CROSSING)
def test_the_second_of_two_tells_what_is_true_by_then(portal: Portal, what: str) -> None:
    """It waits, and then refuses or does as it says."""
    (who, statement), second, told, check, found = CROSSING[what]
    with ThreadPoolExecutor() as pool, service(portal.url, portal.users[who]) as connection:
        connection.execute(portal.filled(statement).encode())
        waiting = in_background(pool, portal.url, lambda: answer(portal, *second), "second")
        connection.commit()
        assert waiting.result() == told
    assert one(portal.url, check) == found


def test_a_configuration_that_is_removed_meanwhile_is_not_told_as_unchanged(portal: Portal) -> None:
    """Whoever waits for its row, which then goes, is told that nothing was stored."""
    update = "SELECT outcome FROM public.update_server_config('{server}', p_config_metadata => '{{}}')"
    with ThreadPoolExecutor() as pool, service(portal.url, portal.users["mate"]) as connection:
        connection.execute("SELECT 1 FROM public.user_server_configs FOR NO KEY UPDATE")
        waiting = in_background(pool, portal.url, lambda: answer(portal, "mate", update), "second")
        connection.execute("DELETE FROM public.user_server_configs")
        connection.commit()
        assert waiting.result() == "PT409"
    assert one(portal.url, "SELECT count(*) FROM public.audit_logs") == 0


def test_three_who_cross_leave_a_super_admin(portal: Portal) -> None:
    """One is promoted and erases themselves, while who promoted them steps down: one of the two fails."""
    mate, sam = portal.users["mate"], portal.users["sam"]

    def third() -> Any:  # noqa: ANN401 - what came of it
        with service(portal.url, sam, "third") as connection:
            try:
                return call(connection, "SELECT public.set_user_role(%s, 'standard_user')", sam)
            except psycopg.Error as error:
                return error.sqlstate

    with ThreadPoolExecutor() as pool, service(portal.url, sam) as first:
        call(first, "SELECT public.set_user_role(%s, 'super_admin')", mate)
        erasing = in_background(
            pool, portal.url, lambda: answer(portal, "mate", "SELECT public.erase_user('{mate}')"), "second"
        )
        stepping = in_background(pool, portal.url, third, "third")
        first.commit()
        done = {erasing.result(), stepping.result()}
    assert done & {"40P01", "PT409", "PT403"}, done
    assert one(portal.url, "SELECT count(*) FROM public.users WHERE role = 'super_admin' AND is_active") >= 1


LAPSED = {
    "who sent it is deactivated": "UPDATE public.users SET is_active = false WHERE id = '{lead}'",
    "who sent it leads no more": "UPDATE public.team_members SET role = 'member' WHERE user_id = '{lead}'",
    "who sent it has not the reach that it would give": "UPDATE public.users SET role = 'standard_user' "
    "WHERE id = '{lead}'; UPDATE public.users SET role = 'team_admin' WHERE id = '{guest}'",
}


@pytest.mark.parametrize("why", LAPSED)
def test_an_invitation_does_not_outlive_the_right_to_send_it(portal: Portal, why: str) -> None:
    """It is refused when it is accepted."""
    for statement in LAPSED[why].split("; "):
        ask(portal.url, portal.filled(statement))
    assert answer(portal, "guest", "SELECT public.accept_team_invitation('{team}')") == "PT409"
    assert answer(portal, "guest", "SELECT public.decline_team_invitation('{team}')") == "declined"


def test_what_an_admin_sent_out_goes_with_them(portal: Portal) -> None:
    """Who is removed from a team lets nobody in any more."""
    assert answer(portal, "sam", "SELECT public.remove_team_member('{team}', '{lead}')") == "removed"
    assert one(portal.url, "SELECT count(*) FROM public.team_invitations") == 0


def test_a_missing_setting_ends_sessions(portal: Portal) -> None:
    """Without session_lifetime a session has expired when it is opened."""
    ask(portal.url, "DELETE FROM public.settings WHERE name = 'session_lifetime'")
    assert answer(portal, "mate", "SELECT expires_at <= CURRENT_TIMESTAMP FROM public.create_session()") is True
