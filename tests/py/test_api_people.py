"""People and sessions where several act at once: nobody is made twice, nothing that ended goes on, nothing is left.

What one call does alone is held by tests/sql/api_people.sql and api_sessions.sql.
"""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import psycopg
import pytest
from api import call, in_background, person, service
from conftest import MakeDatabase, Portaldb
from support import ask, one, paragraph


@pytest.fixture
def portal(make_database: MakeDatabase) -> str:
    """Make a database."""
    return make_database(migrate=True)


def opened(url: str, user: str) -> tuple[str, str]:
    """Open a session and return its session token and its refresh token."""
    with service(url, user) as connection:
        _, session, refresh, _ = call(connection, "SELECT * FROM public.create_session()")
    return session, refresh


def at_once(workers: int, work: Callable[[int], Any]) -> list[Any]:
    """Do the same several times at the same moment, and return what each gave."""
    together = Barrier(workers)

    def one_of_them(number: int) -> Any:  # noqa: ANN401 - what the work gives
        together.wait()
        return work(number)

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one_of_them, range(workers)))


# Signing in ----------------------------------------------------------------------------------------------


def test_a_first_sign_in_in_eight_places_at_once_makes_one_user(portal: str) -> None:
    """user_created is audited once, login eight times, and the user is one."""

    def come_in(_: int) -> tuple[str, str, str, bool]:
        with service(portal) as connection:
            found: tuple[str, str, str, bool] = call(
                connection, "SELECT * FROM public.sign_in('carol', 'carol@example.org')"
            )
        return found

    found = at_once(8, come_in)
    assert {outcome for outcome, *_ in found} == {"signed_in"}
    assert len({user for _, user, *_ in found}) == 1
    assert sum(is_new for *_, is_new in found) == 1
    counts = dict(ask(portal, "SELECT action, count(*) FROM public.audit_logs GROUP BY 1"))
    assert counts == {"user_created": 1, "login": 8}


def test_who_is_deactivated_meanwhile_does_not_come_in(portal: str) -> None:
    """A sign-in that waits for the deactivation is refused when that is committed."""
    user, admin = person(portal, "carol"), person(portal, "sam", "super_admin")
    with ThreadPoolExecutor() as pool, service(portal, admin) as connection:
        call(connection, "SELECT public.deactivate_user(%s)", user)

        def come_in() -> str:
            with service(portal, name="comes in") as other:
                return str(call(other, "SELECT outcome FROM public.sign_in('carol', 'carol@example.org')"))

        coming = in_background(pool, portal, come_in, "comes in")
        connection.commit()
        assert coming.result() == "refused"


# Roles ---------------------------------------------------------------------------------------------------


def test_two_super_admins_who_demote_each_other_leave_one(portal: str) -> None:
    """The one who comes second is no super_admin any more, and is refused."""
    sam, sue = person(portal, "sam", "super_admin"), person(portal, "sue", "super_admin")
    with ThreadPoolExecutor() as pool, service(portal, sam) as connection:
        assert call(connection, "SELECT public.set_user_role(%s, 'standard_user')", sue) == "changed"

        def demote() -> str | None:
            with service(portal, sue, "demotes") as other:
                try:
                    call(other, "SELECT public.set_user_role(%s, 'standard_user')", sam)
                except psycopg.Error as error:
                    return error.sqlstate
            return None

        second = in_background(pool, portal, demote, "demotes")
        connection.commit()
        assert second.result() == "PT403"
    assert ask(portal, "SELECT email FROM public.users WHERE role = 'super_admin'") == ["sam@example.org"]
    assert one(portal, "SELECT count(*) FROM public.audit_logs WHERE action = 'role_changed'") == 1


# Sessions ------------------------------------------------------------------------------------------------


def test_sixteen_tabs_that_refresh_one_token_at_once_all_go_on(portal: str) -> None:
    """Each gets a session of its own that serves, and nobody is taken for a thief."""
    user = person(portal, "carol")
    _, refresh = opened(portal, user)

    def tab(_: int) -> tuple[str, str]:
        with service(portal) as connection:
            outcome, _, session, _, _ = call(connection, "SELECT * FROM public.refresh_session(%s)", refresh)
        return outcome, session

    found = at_once(16, tab)
    assert {outcome for outcome, _ in found} == {"refreshed"}
    for _, session in found:
        with service(portal) as connection:
            assert str(call(connection, "SELECT user_id FROM public.authenticate(%s)", session)) == user
    assert one(portal, "SELECT count(*) FROM public.audit_logs") == 0
    assert one(portal, "SELECT count(*) FROM public.user_sessions WHERE is_active") == 16


def test_a_session_that_is_being_refreshed_ends_with_its_family(portal: str) -> None:
    """The new session is not seen yet by whoever ends the family, and does not outlive it."""
    user = person(portal, "carol")
    _, refresh = opened(portal, user)
    with ThreadPoolExecutor() as pool, service(portal) as connection:
        outcome, _, session, _, _ = call(connection, "SELECT * FROM public.refresh_session(%s)", refresh)
        assert outcome == "refreshed"

        def end() -> int:
            with service(portal, user, "ends") as other:
                return int(call(other, "SELECT public.end_all_sessions()"))

        ending = in_background(pool, portal, end, "ends")
        connection.commit()
        assert ending.result() == 1
    with service(portal) as connection, pytest.raises(psycopg.Error) as refused:
        call(connection, "SELECT * FROM public.authenticate(%s)", session)
    assert refused.value.sqlstate == "PT401"
    assert one(portal, "SELECT count(*) FROM public.user_sessions WHERE is_active OR refreshed_at IS NOT NULL") == 0


def test_a_refresh_that_waits_for_the_end_of_its_family_is_refused(portal: str) -> None:
    """Also within the grace of a token that was used already."""
    user = person(portal, "carol")
    _, refresh = opened(portal, user)
    with service(portal) as connection:
        assert call(connection, "SELECT outcome FROM public.refresh_session(%s)", refresh) == "refreshed"
    with ThreadPoolExecutor() as pool, service(portal, user) as connection:
        assert call(connection, "SELECT public.end_all_sessions()") == 1

        def again() -> str:
            with service(portal, name="refreshes") as other:
                return str(call(other, "SELECT outcome FROM public.refresh_session(%s)", refresh))

        waiting = in_background(pool, portal, again, "refreshes")
        connection.commit()
        assert waiting.result() == "refused"
    assert one(portal, "SELECT count(*) FROM public.user_sessions WHERE is_active") == 0


def test_requests_of_one_session_do_not_wait_for_each_other(portal: str) -> None:
    """One of them moves last_activity and is slow; the others are let in meanwhile."""
    session, _ = opened(portal, person(portal, "carol"))
    ask(portal, "UPDATE public.user_sessions SET last_activity = CURRENT_TIMESTAMP - interval '5 minutes'")
    with service(portal) as slow, service(portal) as quick:
        call(slow, "SELECT * FROM public.authenticate(%s)", session)
        quick.execute("SET lock_timeout = '1s'")
        call(quick, "SELECT * FROM public.authenticate(%s)", session)


def test_a_session_is_known_in_a_read_only_transaction(portal: str) -> None:
    """As on a standby: who it is can be asked, and last_activity stays."""
    session, _ = opened(portal, person(portal, "carol"))
    ask(portal, "UPDATE public.user_sessions SET last_activity = CURRENT_TIMESTAMP - interval '5 minutes'")
    with service(portal) as connection:
        connection.execute("SET TRANSACTION READ ONLY")
        assert call(connection, "SELECT role FROM public.authenticate(%s)", session) == "standard_user"
    assert one(portal, "SELECT max(last_activity) < CURRENT_TIMESTAMP - interval '4 minutes' FROM public.user_sessions")


def test_no_token_is_in_the_database(portal: str) -> None:
    """Neither a session's nor a refresh token is found in any row of what the functions write."""
    tokens = opened(portal, person(portal, "carol"))
    rows = json.dumps(ask(portal, "SELECT to_jsonb(s) FROM public.user_sessions AS s UNION ALL SELECT to_jsonb(a) "
                                  "FROM public.audit_logs AS a"))  # fmt: skip
    assert "session_token" in rows
    assert not [token for token in tokens if token in rows]


# Erasing -------------------------------------------------------------------------------------------------

THEIRS = {
    "user_server_configs": "(user_id, server_id) SELECT %s, id FROM public.mcp_servers WHERE name = 'github'",
    "user_sessions": "(user_id, session_token, expires_at) VALUES (%s, 'x', 'infinity')",
    "mcp_servers": "(created_by, name, image, catalog_type) VALUES (%s, 'x', 'x', 'custom')",
}


@pytest.mark.parametrize("table", THEIRS)
def test_what_is_inserted_before_an_erasure_is_erased(portal: str, table: str) -> None:
    """The erasure waits for the transaction that inserts, and then sees its row."""
    user = person(portal, "carol")
    with ThreadPoolExecutor() as pool, service(portal, user) as connection:
        connection.execute(f"INSERT INTO public.{table} {THEIRS[table]}".encode(), (user,))

        def erase() -> str:
            with service(portal, user, "erases") as other:
                return str(call(other, "SELECT public.erase_user(%s)", user))

        erasing = in_background(pool, portal, erase, "erases")
        connection.commit()
        assert erasing.result() == "erased"
    whose = "created_by" if table == "mcp_servers" else "user_id"
    assert one(portal, f"SELECT count(*) FROM public.{table} WHERE {whose} = %s", user) == 0


@pytest.mark.parametrize("table", THEIRS)
def test_what_is_inserted_during_an_erasure_is_refused(portal: str, table: str) -> None:
    """The insertion waits for the erasure, passes the foreign key, and is refused all the same."""
    user = person(portal, "carol")
    with ThreadPoolExecutor() as pool, service(portal, user) as connection:
        call(connection, "SELECT public.erase_user(%s)", user)

        def insert() -> str | None:
            with service(portal, user, "inserts") as other:
                try:
                    other.execute(f"INSERT INTO public.{table} {THEIRS[table]}".encode(), (user,))
                except psycopg.Error as error:
                    return error.sqlstate
            return None

        inserting = in_background(pool, portal, insert, "inserts")
        connection.commit()
        assert inserting.result() == "PT409"
    whose = "created_by" if table == "mcp_servers" else "user_id"
    assert one(portal, f"SELECT count(*) FROM public.{table} WHERE {whose} = %s", user) == 0


def test_an_erased_user_who_comes_back_is_a_new_one(portal: str) -> None:
    """The old row keeps nothing by which they could be known."""
    with service(portal) as connection:
        _, old, _, _ = call(connection, "SELECT * FROM public.sign_in('carol', 'carol@example.org', 'Carol')")
        call(connection, "SELECT public.erase_user(%s)", old)
    with service(portal) as connection:
        outcome, new, _, is_new = call(connection, "SELECT * FROM public.sign_in('carol', 'carol@example.org')")
    assert (outcome, is_new) == ("signed_in", True)
    assert new != old
    kept = one(portal, "SELECT to_jsonb(u)::text FROM public.users AS u WHERE id = %s", old)
    assert "carol" not in kept.lower()


# The first super_admin -----------------------------------------------------------------------------------


def test_promote_makes_a_super_admin_and_says_so_in_the_trail(portal: str, portaldb: Portaldb) -> None:
    """By address, whatever its case, by Azure object id and by id; once."""
    user = person(portal, "carol")
    done = portaldb("user", "promote", "Carol@Example.org", database=portal, check=True)
    assert done.stdout.startswith(f"carol@example.org ({user}) is a super_admin of ")
    for who in ("carol", user.upper()):
        again = portaldb("user", "promote", who, "--json", database=portal, check=True)
        assert json.loads(again.stdout) == {"id": user, "email": "carol@example.org", "changed": False}
    assert ask(portal, "SELECT action, user_id, resource_id::text, details FROM public.audit_logs") == [
        (
            "role_changed", None, user,
            {"from": "standard_user", "to": "super_admin", "by": "the owner of the database"},
        )
    ]  # fmt: skip


def test_promote_refuses_nobody_several_and_the_deactivated(portal: str, portaldb: Portaldb) -> None:
    """Each in one paragraph that says what to do, and nothing is changed."""
    first, second = person(portal, "one"), person(portal, "two")
    ask(portal, "UPDATE public.users SET email = 'twin@example.org' WHERE id IN (%s, %s)", first, second)
    person(portal, "dora")
    ask(portal, "UPDATE public.users SET is_active = false WHERE azure_oid = 'dora'")
    assert "sign in once" in paragraph(portaldb("user", "promote", "nobody", database=portal), 2)
    assert first in paragraph(portaldb("user", "promote", "twin@example.org", database=portal), 4)
    assert "deactivated" in paragraph(portaldb("user", "promote", "dora", database=portal), 4)
    assert one(portal, "SELECT count(*) FROM public.users WHERE role = 'super_admin'") == 0
    assert one(portal, "SELECT count(*) FROM public.audit_logs") == 0
