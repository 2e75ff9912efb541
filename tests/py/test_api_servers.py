"""Two callers at once, and a document that moves from one account to another: what one connection cannot show."""

import json
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from conftest import MakeDatabase
from support import ask, one, until, waits_for_lock

from portaldb.encryption import Keyring, config_context, encrypt, key_set
from portaldb.encryption.keyring import Enc, State

Connection = psycopg.Connection[Any]
Row = tuple[Any, ...]

IMPORT = "SELECT ordinal, name, outcome, reason, secret_missing FROM public.import_configs(%s::jsonb, %s, %s)"
UPDATE = """
SELECT outcome FROM public.update_server_config(
    %s, p_config_metadata => %s::jsonb, p_expected_updated_at => %s::timestamptz
)
"""
SETTINGS = """
SELECT s.name, s.catalog_type, s.image, s.display_name, s.description, s.category, s.tags, s.metadata, s.version,
    s.is_active, c.enabled, c.config_metadata
FROM public.mcp_servers AS s
LEFT JOIN public.user_server_configs AS c ON c.server_id = s.id AND c.user_id = %(user)s
WHERE c.user_id IS NOT NULL OR s.created_by = %(user)s
ORDER BY 1, 2
"""
"""All that a user has set, but for secrets."""


@pytest.fixture
def url(make_database: MakeDatabase) -> str:
    """Make a database."""
    return make_database(migrate=True)


def new_user(url: str, role: str = "standard_user") -> UUID:
    """Make a user."""
    return UUID(
        str(
            one(
                url,
                "INSERT INTO public.users (azure_oid, email, role) VALUES (%s, 'x@example.org', %s) RETURNING id",
                str(uuid4()),
                role,
            )
        )
    )


def server_id(url: str, name: str) -> UUID:
    """Return the id of a server of the catalog."""
    return UUID(str(one(url, "SELECT id FROM public.mcp_servers WHERE name = %s AND created_by IS NULL", name)))


@contextmanager
def acting(url: str, user: UUID, name: str = "") -> Iterator[Connection]:
    """Open a transaction as a service does that acts for a user; it commits at the end of the block."""
    with psycopg.connect(url, application_name=name) as connection:
        connection.execute("SET LOCAL ROLE portal_app")
        connection.execute("SELECT public.set_app_context(%s)", [user])
        yield connection


def call(url: str, user: UUID, query: str, *values: object) -> list[Row]:
    """Run one call in a transaction of its own, as a service for a user."""
    with acting(url, user) as connection:
        return connection.execute(query.encode(), values).fetchall()


def audited(url: str, user: UUID) -> list[str]:
    """Return the actions of a user's trail."""
    return ask(url, "SELECT action::text FROM public.audit_logs WHERE user_id = %s ORDER BY timestamp", user)


def settings(url: str, user: UUID) -> list[Row]:
    """Return all that a user has set, but for secrets."""
    with psycopg.connect(url) as connection:
        return connection.execute(SETTINGS.encode(), {"user": user}).fetchall()


def beside(
    url: str, first: Callable[[Connection], None], user: UUID, second: Callable[[Connection], Any], second_user: UUID
) -> Any:  # noqa: ANN401 - whatever the second returns
    """Run the second while the first has not committed; it waits for the first, and sees what that did."""
    with ThreadPoolExecutor(1) as pool:

        def other() -> Any:  # noqa: ANN401 - whatever the second returns
            with acting(url, second_user, "second") as connection:
                return second(connection)

        with acting(url, user) as connection:
            first(connection)
            later = pool.submit(other)
            until(waits_for_lock(url, "second"), "the second to wait for the first")
        return later.result(timeout=30)


# Two at once ---------------------------------------------------------------------------------------------


def test_enable_at_once_is_done_and_audited_once(url: str) -> None:
    """Of two who switch on one server for one user, one makes the configuration and the other finds it."""
    user, server = new_user(url), server_id(url, "github")
    query = "SELECT outcome, config_id FROM public.enable_server(%s)"
    told: list[Row] = []

    def first(connection: Connection) -> None:
        told.extend(connection.execute(query.encode(), [server]).fetchall())

    told += beside(url, first, user, lambda c: c.execute(query.encode(), [server]).fetchall(), user)
    assert [row[0] for row in told] == ["enabled", "unchanged"]
    assert told[0][1] == told[1][1]
    assert audited(url, user) == ["server_enabled"]


@pytest.mark.parametrize("name", ["enable_server", "disable_server"])
def test_many_at_once_change_it_once(url: str, name: str) -> None:
    """Of sixteen who ask for the same, one changes something, whoever is first."""
    user, server = new_user(url), server_id(url, "github")
    if name == "disable_server":
        call(url, user, "SELECT public.enable_server(%s)", server)
    barrier = threading.Barrier(16)

    def ask_for_it(_: int) -> str:
        with acting(url, user) as connection:
            barrier.wait()
            row = connection.execute(f"SELECT outcome FROM public.{name}(%s)".encode(), [server]).fetchone()
            assert row is not None
            return str(row[0])

    with ThreadPoolExecutor(16) as pool:
        outcomes = sorted(pool.map(ask_for_it, range(16)))
    assert outcomes == [f"{name.split('_', maxsplit=1)[0]}d", *["unchanged"] * 15]
    assert audited(url, user).count(f"server_{outcomes[0]}") == 1


def test_bulk_in_opposite_orders_does_not_deadlock(url: str) -> None:
    """Many at once, each in another order, wait for each other and never in a circle; each change is audited once."""
    user = new_user(url)
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO public.mcp_servers (name, image) SELECT 'tool-' || n, 'x' FROM generate_series(1, 50) AS n"
        )
    servers = ask(url, "SELECT id FROM public.mcp_servers")

    def work(seed: int) -> int:
        chosen = random.Random(seed)  # noqa: S311 - orders, not secrets
        changed = 0
        for _ in range(10):
            name = chosen.choice(["bulk_enable", "bulk_disable"])
            chosen.shuffle(ids := list(servers))
            rows = call(url, user, f"SELECT outcome FROM public.{name}(%s)", ids)
            assert len(rows) == len(ids)
            changed += sum(row[0] in {"enabled", "disabled"} for row in rows)
        return changed

    with ThreadPoolExecutor(8) as pool:
        changed = sum(pool.map(work, range(8)))
    in_trail = "SELECT coalesce(sum(jsonb_array_length(details -> 'server_ids')), 0) FROM public.audit_logs"
    assert one(url, in_trail) == changed


def test_update_of_a_state_that_is_gone_is_refused(url: str) -> None:
    """Of two who read one state and change it, the second is told so, and the first one's change stays."""
    user, server = new_user(url), server_id(url, "github")
    call(url, user, UPDATE, server, '{"n": 0}', None)
    read = one(url, "SELECT updated_at::text FROM public.user_server_configs WHERE user_id = %s", user)

    def first(connection: Connection) -> None:
        row = connection.execute(UPDATE.encode(), [server, '{"n": 1}', read]).fetchone()
        assert row == ("updated",)

    def second(connection: Connection) -> str:
        with pytest.raises(psycopg.Error) as refused:
            connection.execute(UPDATE.encode(), [server, '{"n": 2}', read])
        connection.rollback()
        return str(refused.value.diag.sqlstate)

    assert beside(url, first, user, second, user) == "PT409"
    assert one(url, "SELECT config_metadata FROM public.user_server_configs WHERE user_id = %s", user) == {"n": 1}
    assert audited(url, user) == ["config_updated"] * 2


def test_no_update_is_lost(url: str) -> None:
    """Eight who each count up in the metadata, reading again when refused, count them all."""
    user, server = new_user(url), server_id(url, "github")
    call(url, user, UPDATE, server, '{"n": 0}', None)

    def count(_: int) -> None:
        done = 0
        while done < 10:
            [(metadata, read)] = call(
                url,
                user,
                "SELECT config_metadata, updated_at::text FROM public.user_servers WHERE server_id = %s",
                server,
            )
            try:
                call(url, user, UPDATE, server, json.dumps({"n": metadata["n"] + 1}), read)
                done += 1
            except psycopg.Error as error:
                assert error.diag.sqlstate == "PT409"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(8)))
    assert one(url, "SELECT config_metadata FROM public.user_server_configs WHERE user_id = %s", user) == {"n": 80}
    assert audited(url, user).count("config_updated") == 81


def test_enable_of_what_is_removed_meanwhile_is_not_found(url: str) -> None:
    """An admin who switches on a server that its maker is removing is told that there is none."""
    user, admin = new_user(url), new_user(url, "super_admin")
    [(server,)] = call(url, user, "SELECT public.add_custom_server('tool', 'x')")

    def remove(connection: Connection) -> None:
        connection.execute("SELECT public.remove_custom_server(%s)", [server])

    def enable(connection: Connection) -> str:
        with pytest.raises(psycopg.Error) as refused:
            connection.execute("SELECT public.enable_server(%s)", [server])
        connection.rollback()
        return str(refused.value.diag.sqlstate)

    assert beside(url, remove, user, enable, admin) == "PT404"
    [(again,)] = call(url, user, "SELECT public.add_custom_server('tool', 'x')")

    def remove_again(connection: Connection) -> None:
        connection.execute("SELECT public.remove_custom_server(%s)", [again])

    def bulk(connection: Connection) -> str:
        with pytest.raises(psycopg.Error) as refused:
            connection.execute("SELECT public.bulk_enable(%s)", [[again, server_id(url, "github")]])
        connection.rollback()
        return str(refused.value.diag.sqlstate)

    assert beside(url, remove_again, user, bulk, admin) == "PT409"
    assert audited(url, admin) == []


@pytest.mark.parametrize(
    "query",
    [
        "SELECT public.enable_server(%(server)s)",
        "SELECT public.bulk_enable(ARRAY[%(server)s]::uuid[])",
        "SELECT public.bulk_disable(ARRAY[%(server)s]::uuid[])",
        "SELECT public.update_server_config(%(server)s, p_config_metadata => '{\"n\": 1}')",
        "SELECT public.add_custom_server('tool', 'x')",
        'SELECT public.import_configs(\'{"format": "mcp_portal.configs", "version": 1, "configs": []}\')',
    ],
)
def test_erased_meanwhile_is_nobody(url: str, query: str) -> None:
    """Whoever is being erased is waited for and is nobody then; erasing waits for what they do, and leaves nothing."""
    user, admin, server = new_user(url), new_user(url, "super_admin"), server_id(url, "github")
    call(url, user, "SELECT public.update_server_config(%s, p_config_metadata => '{}')", server)

    def erase(connection: Connection) -> None:
        connection.execute("SELECT public.erase_user(%s)", [user])

    def act(connection: Connection) -> None:
        connection.execute(query.encode(), {"server": server})

    def act_in_vain(connection: Connection) -> str:
        with pytest.raises(psycopg.Error) as refused:
            act(connection)
        connection.rollback()
        return str(refused.value.diag.sqlstate)

    assert beside(url, erase, admin, act_in_vain, user) == "PT401"
    assert ask(url, "SELECT id FROM public.user_server_configs") == []

    user = new_user(url)
    call(url, user, "SELECT public.enable_server(%s)", server)
    beside(url, act, user, erase, admin)
    assert ask(url, "SELECT id FROM public.user_server_configs") == []
    assert ask(url, "SELECT id FROM public.mcp_servers WHERE created_by IS NOT NULL") == []


def test_a_name_is_taken_by_whoever_commits_first(url: str) -> None:
    """Of two who add servers of one name, the second is told that it is taken."""
    user, other = new_user(url), new_user(url)

    def add(connection: Connection) -> None:
        connection.execute("SELECT public.add_custom_server('tool', 'x')")

    def add_too(connection: Connection) -> str:
        with pytest.raises(psycopg.Error) as refused:
            add(connection)
        connection.rollback()
        return str(refused.value.diag.sqlstate)

    assert beside(url, add, user, add_too, other) == "PT409"


LATE = """
CREATE OR REPLACE FUNCTION public.require_app_user() RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('test.late')::integer > 0 THEN
        PERFORM set_config('test.late', (current_setting('test.late')::integer - 1)::text, true);
        RETURN public.current_app_user_id();
    END IF;
    RAISE EXCEPTION 'deactivated' USING ERRCODE = 'PT401';
END;
$$
"""
"""It finds the user active as often as test.late says, and not after."""


@pytest.mark.parametrize(
    ("query", "states"),
    [
        ("SELECT public.enable_server(%(server)s)", {"PT404"}),
        ("SELECT public.disable_server(%(server)s)", {"PT404"}),
        ("SELECT public.bulk_enable(ARRAY[%(server)s]::uuid[])", {"PT401"}),
        ("SELECT public.bulk_disable(ARRAY[%(server)s]::uuid[])", {"PT401"}),
        ("SELECT public.add_custom_server('tool', 'x')", {"PT403"}),
        ("SELECT public.remove_custom_server(%(server)s)", {"PT404"}),
        ("SELECT public.update_server_config(%(server)s, p_config_metadata => '{}')", {"PT404"}),
        ("SELECT public.request_server_restart(%(server)s)", {"PT404"}),
        ("SELECT * FROM public.export_configs()", {None}),
        ("SELECT public.import_configs(%(document)s)", {"PT401"}),
    ],
)
def test_shut_out_in_the_middle_is_no_raw_refusal(url: str, query: str, states: set[str | None]) -> None:
    """Whoever is deactivated after a function looked, and before it writes, is refused in the API's words."""
    user, server = new_user(url), server_id(url, "github")
    entry = {"name": "github", "catalog_type": "predefined", "enabled": True}
    document = json.dumps({"format": "mcp_portal.configs", "version": 1, "configs": [entry]})
    with psycopg.connect(url) as connection:
        connection.execute(LATE)
        connection.execute("UPDATE public.users SET is_active = false WHERE id = %s", [user])
    state = None
    with acting(url, user) as connection:
        # hold_app_user() asks twice
        connection.execute("SET LOCAL test.late = 2")
        try:
            connection.execute(query.encode(), {"server": server, "document": document})
        except psycopg.Error as error:
            state = error.diag.sqlstate
            connection.rollback()
    assert state in states
    assert ask(url, "SELECT id FROM public.user_server_configs") == []


# From one account to another -----------------------------------------------------------------------------


def new_ring() -> Keyring:
    """Make a keyring of one key."""
    return key_set.keyring({"keys": [key_set.new_key(Enc.CBC, State.PRIMARY)]})


def furnish(url: str, user: UUID, ring: Keyring) -> None:
    """Give a user configurations of each kind: on and off, with and without secrets, of custom servers too."""
    github, jira, slack = (server_id(url, name) for name in ("github", "jira", "slack"))
    with acting(url, user) as connection:
        connection.execute("SELECT public.bulk_enable(%s)", [[github, jira]])
        connection.execute("SELECT public.update_server_config(%s, p_config_metadata => '{}')", [slack])
        for server in (github, slack):
            value = encrypt('{"token": "secret"}', ring, context=config_context(user, server))
            connection.execute(
                'SELECT public.update_server_config(%s, %s, \'{"ünï": ["\\u2028", null, 1.50, {"k": {}}]}\')',
                [server, value],
            )
        row = connection.execute(
            "SELECT public.add_custom_server('tool', 'ghcr.io/acme/tool:1', 'Tool ☃', E'a\\nb', 'c', ARRAY['y', 'x'], "
            "'{\"n\": null}', '1')"
        ).fetchone()
        assert row is not None
        connection.execute("SELECT public.enable_server(%s)", [row[0]])
        connection.execute("SELECT public.add_custom_server('idle', 'idle')")
        connection.execute("SELECT public.add_custom_server('github', 'my/github')")


def test_export_imports_into_another_database(url: str, make_database: MakeDatabase) -> None:
    """What was exported imports into an empty account elsewhere: every setting, and secrets are told as missing."""
    ring = new_ring()
    user = new_user(url)
    furnish(url, user, ring)
    [(document,)] = call(url, user, "SELECT public.export_configs()")
    values = ask(url, "SELECT encrypted_config FROM public.user_server_configs WHERE encrypted_config IS NOT NULL")
    assert len(values) == 2
    text = json.dumps(document)
    assert not [part for value in values for part in value.split(".") if part and part in text]
    assert str(user) not in text

    elsewhere = make_database(migrate=True)
    them = new_user(elsewhere)
    told = call(elsewhere, them, IMPORT, text, True, False)
    assert {row[2] for row in told} == {"imported"}
    assert sorted(row[1] for row in told if row[4]) == ["github", "slack"]
    assert settings(elsewhere, them) == settings(url, user)
    assert audited(elsewhere, them) == ["config_imported"]
    [(again,)] = call(elsewhere, them, "SELECT public.export_configs()")
    without = [{**entry, "has_secret": False} if "has_secret" in entry else entry for entry in document["configs"]]
    assert again["configs"] == without

    # Once more: nothing changes, and nothing is audited
    told = call(elsewhere, them, IMPORT, text, True, True)
    assert {row[2] for row in told} == {"skipped"}
    assert audited(elsewhere, them).count("config_imported") == 1


def test_export_imports_with_secrets_for_the_target(url: str, make_database: MakeDatabase) -> None:
    """Secrets go along when the caller encrypts them for the account that they go to."""
    ring, theirs = (new_ring() for _ in range(2))
    user, elsewhere = new_user(url), make_database(migrate=True)
    furnish(url, user, ring)
    them = new_user(elsewhere)
    given = {
        name: encrypt('{"token": "secret"}', theirs, context=config_context(them, server_id(elsewhere, name)))
        for name in ("github", "slack")
    }
    secrets = {"github": {"predefined": given["github"]}, "slack": given["slack"]}
    [(document,)] = call(url, user, "SELECT public.export_configs(%s::jsonb)", json.dumps(secrets))
    told = call(elsewhere, them, IMPORT, json.dumps(document), True, False)
    assert {row[2] for row in told} == {"imported"}
    assert not [row for row in told if row[4]]
    stored = ask(
        elsewhere, "SELECT encrypted_config FROM public.user_server_configs WHERE encrypted_config IS NOT NULL"
    )
    assert sorted(stored) == sorted(given.values())


def test_export_imports_into_the_same_database(url: str) -> None:
    """Beside the account that it came from, names of custom servers are taken: all of it, or what can be."""
    user, them = new_user(url), new_user(url)
    furnish(url, user, new_ring())
    [(document,)] = call(url, user, "SELECT public.export_configs()")
    told = call(url, them, IMPORT, json.dumps(document), True, False)
    assert {row[2:4] for row in told} == {
        ("refused", "the name is taken"),
        ("skipped", "nothing is imported, because an entry is refused"),
    }
    assert settings(url, them) == []
    assert audited(url, them) == []

    told = call(url, them, IMPORT, json.dumps(document), False, False)
    assert [row[2] for row in told] == [
        "refused" if entry["catalog_type"] == "custom" else "imported" for entry in document["configs"]
    ]
    assert [row for row in settings(url, user) if row[1] == "predefined"] == settings(url, them)
    assert audited(url, them) == ["config_imported"]

    # In an account that is rid of what it had
    call(url, user, "SELECT public.remove_custom_server(id) FROM public.mcp_servers WHERE created_by = %s", user)
    third = new_user(url)
    told = call(url, third, IMPORT, json.dumps(document), True, False)
    assert {row[2] for row in told} == {"imported"}


def test_a_thousand_entries_import(url: str) -> None:
    """A document of the most entries that are taken."""
    user = new_user(url)
    entries = [
        {"name": f"tool-{n}", "catalog_type": "custom", "enabled": True, "definition": {"image": f"acme/tool:{n}"}}
        for n in range(1000)
    ]
    document = {"format": "mcp_portal.configs", "version": 1, "configs": entries}
    told = call(url, user, IMPORT, json.dumps(document), True, False)
    assert [row[:3] for row in told] == [(n + 1, f"tool-{n}", "imported") for n in range(1000)]
    [(exported,)] = call(url, user, "SELECT public.export_configs()")
    assert len(exported["configs"]) == 1000


SCRAPS: list[Any] = [
    None, True, 0, -1, 1e308, "", "x", "github", "predefined", "custom", "x" * 70000, "\u2028",
    "'; DROP TABLE users; --", [], {}, [[]], {"": {}}, {"image": "x"}, {"image": 1}, {"image": "x", "tags": [1]},
    {"image": "x", "tags": ["a"]},
]  # fmt: skip
KEYS = ["name", "catalog_type", "enabled", "config_metadata", "has_secret", "secret", "definition", "?"]


def test_hostile_documents_are_refused_in_the_api_s_own_words(url: str, seed: int) -> None:
    """Whatever a document holds, it is refused with PT400, or each of its entries is told of; or nothing changed."""
    chosen = random.Random(seed)  # noqa: S311 - drawn again with --seed
    user = new_user(url)
    for _ in range(100):
        entries: list[Any] = [
            {
                "name": "github",
                "catalog_type": "predefined",
                "enabled": True,
                **{key: chosen.choice(SCRAPS) for key in chosen.sample(KEYS, chosen.randrange(4))},
            }
            if chosen.random() < 0.9
            else chosen.choice(SCRAPS)
            for _ in range(chosen.randrange(6))
        ]
        document: Any = {"format": "mcp_portal.configs", "version": 1, "configs": entries}
        if chosen.random() < 0.2:
            document[chosen.choice(["format", "version", "configs"])] = chosen.choice(SCRAPS)
        together = chosen.random() < 0.5
        before = settings(url, user)
        try:
            told = call(url, user, IMPORT, json.dumps(document), together, chosen.random() < 0.5)
        except psycopg.Error as error:
            assert error.diag.sqlstate == "PT400", (document, error)
            assert settings(url, user) == before
            continue
        assert [row[0] for row in told] == list(range(1, len(document["configs"]) + 1))
        assert {row[2] for row in told} <= {"imported", "skipped", "refused"}
        assert all((row[2] == "imported") == (row[3] is None) for row in told)
        if not any(row[2] == "imported" for row in told):
            assert settings(url, user) == before
