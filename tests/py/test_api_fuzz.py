"""Every function that services call, with whatever arguments: an answer or a documented refusal, and nothing of others.

The functions, their arguments and what they document are read from the catalog, so that a new one is tried without a
word here. What is chosen at random is chosen by Hypothesis with the session's seed.
"""

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import hypothesis
import psycopg
import pytest
from conftest import MakeDatabase
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from psycopg import sql
from support import ask

Connection = psycopg.Connection[Any]

ACTORS = ("nobody", "alpha", "lead", "dora", "tess", "sam")
"""Who calls. Alpha and lead are of one team, beta of another; dora is deactivated, tess team_admin, sam super_admin."""
ADMINS = ("tess", "sam")
CANARY = "canary of beta"

PORTAL = f"""
INSERT INTO public.users (azure_oid, email, display_name, metadata, role, is_active)
SELECT n, CASE n WHEN 'beta' THEN '{CANARY}' ELSE n END, CASE n WHEN 'beta' THEN '{CANARY}' ELSE n END,
    CASE n WHEN 'beta' THEN '{{"x": "{CANARY}"}}'::jsonb ELSE '{{}}' END,
    CASE n WHEN 'tess' THEN 'team_admin' WHEN 'sam' THEN 'super_admin' ELSE 'standard_user' END, n <> 'dora'
FROM unnest(ARRAY['alpha', 'lead', 'beta', 'dora', 'tess', 'sam']) AS n;

INSERT INTO public.mcp_servers (name, image, catalog_type, created_by, description, metadata)
SELECT 'tool-of-' || u.azure_oid, 'x', 'custom', u.id, CASE u.azure_oid WHEN 'beta' THEN '{CANARY}' END,
    CASE u.azure_oid WHEN 'beta' THEN '{{"x": "{CANARY}"}}'::jsonb ELSE '{{}}' END
FROM public.users AS u;

INSERT INTO public.user_server_configs (user_id, server_id, enabled, config_metadata)
SELECT u.id, s.id, s.name IN ('github', 'tool-of-beta'),
    CASE u.azure_oid WHEN 'beta' THEN '{{"x": "{CANARY}"}}'::jsonb ELSE '{{}}' END
FROM public.users AS u, public.mcp_servers AS s WHERE s.name IN ('github', 'jira') OR s.created_by = u.id;

INSERT INTO public.user_sessions (user_id, session_token, refresh_token, expires_at, user_agent)
SELECT u.id, encode(sha256(convert_to('token of ' || u.azure_oid, 'UTF8')), 'hex'),
    encode(sha256(convert_to('refresh of ' || u.azure_oid, 'UTF8')), 'hex'), 'infinity',
    CASE u.azure_oid WHEN 'beta' THEN '{CANARY}' END
FROM public.users AS u;

INSERT INTO public.teams (name, description, created_by)
SELECT 'team of ' || u.azure_oid, CASE u.azure_oid WHEN 'beta' THEN '{CANARY}' END, u.id
FROM public.users AS u WHERE u.azure_oid IN ('lead', 'beta');

INSERT INTO public.team_members (team_id, user_id, role)
SELECT t.id, u.id, CASE u.azure_oid WHEN 'alpha' THEN 'member' ELSE 'admin' END
FROM public.teams AS t, public.users AS u
WHERE t.name = 'team of ' || CASE u.azure_oid WHEN 'alpha' THEN 'lead' ELSE u.azure_oid END;

INSERT INTO public.audit_logs (user_id, action, details)
SELECT u.id, 'login', CASE u.azure_oid WHEN 'beta' THEN '{{"x": "{CANARY}"}}'::jsonb ELSE '{{}}' END
FROM public.users AS u, generate_series(1, 3)
"""

THEIRS = """
SELECT md5(string_agg(r.line, E'\\n' ORDER BY r.line))
FROM (
    SELECT to_jsonb(u)::text AS line FROM public.users AS u WHERE u.azure_oid = 'beta'
    UNION ALL SELECT to_jsonb(c)::text FROM public.user_server_configs AS c WHERE c.user_id = %(beta)s
    UNION ALL SELECT to_jsonb(s)::text FROM public.user_sessions AS s WHERE s.user_id = %(beta)s
    UNION ALL SELECT to_jsonb(s)::text FROM public.mcp_servers AS s
        WHERE s.created_by IS NULL OR s.created_by = %(beta)s
    UNION ALL SELECT to_jsonb(t)::text FROM public.teams AS t WHERE t.created_by = %(beta)s
    UNION ALL SELECT to_jsonb(m)::text FROM public.team_members AS m
        INNER JOIN public.teams AS t ON m.team_id = t.id WHERE t.created_by = %(beta)s
    UNION ALL SELECT to_jsonb(a)::text FROM public.audit_logs AS a WHERE a.user_id = %(beta)s
    UNION ALL SELECT to_jsonb(s)::text FROM public.settings AS s
) AS r
"""
"""What is beta's, and what is everybody's and nobody's to change."""

FUNCTIONS = """
SELECT p.proname, p.proargtypes::oid[]::regtype[]::text[], coalesce(obj_description(p.oid, 'pg_proc'), ''),
    p.proargnames
FROM pg_proc AS p
WHERE
    p.pronamespace = 'public'::regnamespace AND p.prokind = 'f'
    AND has_function_privilege('portal_app', p.oid, 'EXECUTE')
    AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e')
ORDER BY p.oid::regprocedure::text
"""

ALWAYS = {"22023", "22P02", "22021", "22P05", "22003", "22008", "22007", "54000"}
"""What PostgreSQL says of a value that is none of its type, before any function sees it."""
CRYPTOGRAPHY = re.compile(r"base64url|sensitive_data|a256cbc")
"""Helpers of the encryption, with errors of their own: tests/sql/encryption*.sql hold them."""
PART = re.compile(r"^A part of |for the API's functions alone")
"""What a comment says of a function that is no service's to call, and whose caller catches what it raises."""


@dataclass(frozen=True)
class Function:
    """A function as its callers see it."""

    name: str
    types: tuple[str, ...]
    errors: frozenset[str]
    audits: frozenset[str]

    @property
    def call(self) -> sql.Composed:
        """Write the call, a placeholder for each argument."""
        taken = sql.SQL(", ").join(sql.SQL(f"%s::{kind}") for kind in self.types)
        return sql.SQL("SELECT f::text FROM public.{}({}) AS f").format(sql.Identifier(self.name), taken)


@dataclass
class World:
    """A database with tenants, the functions that they call, and ids and texts that mean something there."""

    connection: Connection
    functions: list[Function]
    ids: list[str]
    users: dict[str, str]


@pytest.fixture
def world(make_database: MakeDatabase) -> Iterator[World]:
    """Make tenants; everything that is tried is rolled back."""
    url = make_database(migrate=True)
    for statement in PORTAL.split(";\n"):
        ask(url, statement)
    functions = [
        Function(name, tuple(types), frozenset(codes(comment)), frozenset(actions(comment)))
        for name, types, comment, _ in ask(url, FUNCTIONS)
        if not CRYPTOGRAPHY.search(name) and not PART.search(comment)
    ]
    with psycopg.connect(url) as connection:
        users: dict[str, str] = dict(connection.execute("SELECT azure_oid, id::text FROM public.users").fetchall())
        ids = [
            row[0]
            for table in ("users", "mcp_servers", "user_server_configs", "user_sessions", "teams", "audit_logs")
            for row in connection.execute(f"SELECT id::text FROM public.{table} ORDER BY 1".encode())
        ]
        yield World(connection, functions, ids, users)
        connection.rollback()


def codes(comment: str) -> list[str]:
    """Return the SQLSTATEs that a function's comment lists."""
    line = re.search(r"^Errors: (.*?)(?=^\w+: |\Z)", comment, re.MULTILINE | re.DOTALL)
    return re.findall(r"\b([0-9A-Z]{5})\b", line[1]) if line else []


def actions(comment: str) -> list[str]:
    """Return the actions that a function's comment lists."""
    line = re.search(r"^Audits: (.*?)$", comment, re.MULTILINE)
    return re.findall(r"[a-z_]+", line[1]) if line else []


# Arguments -----------------------------------------------------------------------------------------------

TEXTS = st.sampled_from((
    None, "", " ", "'", "''; DROP TABLE public.users; --", '"; SELECT 1', "$$", "%s %n \\x00", "\\u0000", "\x01\x7f",
    "﷽" * 50, "x" * 256, "x" * 1_000_000, "é" * 300, "NULL", "null", "member", "admin", "super_admin", "team_admin",
    "standard_user", "login", "github", "tool-of-beta", "ghcr.io/acme/tool:1", "token of alpha", "token of beta",
    "refresh of beta", "refresh of alpha", "erased:x", "beta", "../../etc/passwd", "\u202e\u0000".replace("\u0000", ""),
))  # fmt: skip
LEAVES = st.sampled_from((None, True, 0, -1, 1e308, "", "x", "github", "tool-of-beta", "\\u0000", "x" * 2000))
JSON = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ("x", "format", "version", "configs", "name", "catalog_type", "enabled", "config_metadata", "image", "tags")
    ), inner, max_size=4), max_leaves=8,
)  # fmt: skip
ENTRIES = st.fixed_dictionaries(
    {
        "name": st.sampled_from(("github", "jira", "tool-of-beta", "tool-of-alpha", "mine", "", None, "x" * 300)),
        "catalog_type": st.sampled_from(("predefined", "custom", "x", None)),
        "enabled": st.sampled_from((True, False, "yes", None)),
    },
    optional={
        "config_metadata": JSON, "has_secret": st.booleans() | LEAVES, "secret": LEAVES,
        "definition": st.just({"image": "ghcr.io/acme/tool:1"}) | JSON,
    },
)  # fmt: skip
DOCUMENTS = st.fixed_dictionaries(
    {
        "format": st.sampled_from(("mcp_portal.configs",) * 5 + ("x", None)),
        "version": st.sampled_from((1, 1, 1, 2, "1")),
    },
    optional={"configs": st.lists(ENTRIES, max_size=4) | st.lists(JSON, max_size=4) | LEAVES},
)
HOSTILE_JSON = (JSON | DOCUMENTS | st.just(["x"] * 2000) | st.just({"x": "y" * 1_000_000})).map(json.dumps) | st.none()


def arguments(kind: str, world: World) -> st.SearchStrategy[Any]:
    """Return values of a type, from ordinary to absurd."""
    uuids = st.none() | st.sampled_from(world.ids) | st.just(str(uuid.UUID(int=0))) | st.uuids().map(str)
    kinds: dict[str, st.SearchStrategy[Any]] = {
        "uuid": uuids,
        "uuid[]": st.none() | st.lists(uuids, max_size=8) | st.just([world.ids[0]] * 1500),
        "text": TEXTS
        | st.sampled_from(world.ids)
        | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20),
        "character varying": TEXTS,
        "jsonb": HOSTILE_JSON,
        "inet": st.sampled_from((None, "192.0.2.1", "::1", "10.0.0.0/8", "2001:db8::/32")),
        "boolean": st.sampled_from((None, True, False)),
        "integer": st.sampled_from((None, 0, 1, -1, 50, 1000, 1001, 2**31 - 1, -(2**31))),
        "timestamp with time zone": st.sampled_from(
            (None, "infinity", "-infinity", "epoch", "2024-01-15", "4713-01-01 BC", "294276-12-31", "now")
        ),
        "text[]": st.none() | st.lists(TEXTS.filter(lambda text: text is None or len(text) < 300), max_size=5),
    }
    if kind not in kinds:
        pytest.fail(f"a function takes {kind}, which this test has no values of: add some to arguments()")
    return kinds[kind]


# The trial -----------------------------------------------------------------------------------------------


def attempt(world: World, actor: str, function: Function, values: list[Any]) -> None:
    """Call a function as somebody, hold it to what it documents, and undo it."""
    connection, beta = world.connection, {"beta": world.users["beta"]}
    connection.rollback()
    before = connection.execute(THEIRS.encode(), beta).fetchone()
    connection.execute("SET LOCAL ROLE portal_app")
    connection.execute("SELECT public.set_app_context(%s, '192.0.2.1', 'fuzz')", (world.users.get(actor),))
    what = f"{actor}: {function.name}({', '.join(repr(value)[:60] for value in values)})"
    try:
        cursor = connection.execute(function.call, values)
        told = "\n".join(str(row[0]) for row in cursor.fetchall())
    except psycopg.Error as error:
        code = error.sqlstate or ""
        outside = code in ALWAYS and not error.diag.context
        assert code in function.errors or outside, f"{what}: {code} {error}; documented: {sorted(function.errors)}"
        if code.startswith("PT"):
            assert error.diag.message_detail and error.diag.message_hint, f"{what}: {error} has no DETAIL or no HINT"
        if actor not in ADMINS and CANARY not in repr(values):
            assert CANARY not in f"{error} {error.diag.message_detail} {error.diag.context}", what
        return
    if actor not in ADMINS and "beta" not in values and not any("of beta" in str(value) for value in values):
        assert CANARY not in told, f"{what} tells {told[:300]}"
        connection.execute("RESET ROLE")
        assert connection.execute(THEIRS.encode(), beta).fetchone() == before, f"{what} changed what is beta's"
    connection.execute("RESET ROLE")
    written = connection.execute(
        "SELECT action, count(*) FROM public.audit_logs WHERE timestamp = CURRENT_TIMESTAMP GROUP BY action"
    ).fetchall()
    if function.name != "create_audit_log":
        assert {action for action, _ in written} <= function.audits, f"{what} audits {written}"
        assert all(times == 1 for _, times in written), f"{what} audits more than once: {written}"


def fuzz(world: World, seed: int, examples: int) -> None:
    """Try so many calls."""
    assert len(world.functions) > 12, world.functions

    @hypothesis.seed(seed)
    @settings(
        max_examples=examples, deadline=None, database=None, phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def calls(data: st.DataObject) -> None:
        function = data.draw(st.sampled_from(world.functions))
        actor = data.draw(st.sampled_from(ACTORS))
        attempt(world, actor, function, [data.draw(arguments(kind, world)) for kind in function.types])

    calls()


def test_any_arguments_give_an_answer_or_a_documented_refusal(world: World, seed: int) -> None:
    """No internal error, nothing of another tenant's in an answer or an error, nothing of theirs changed."""
    fuzz(world, seed, 1500)


@pytest.mark.soak
def test_any_arguments_at_length(world: World, seed: int) -> None:
    """The same, 50,000 times."""
    fuzz(world, seed, 50_000)


@pytest.mark.parametrize("actor", ACTORS)
def test_nothing_at_all_gives_an_answer_or_a_documented_refusal(world: World, actor: str) -> None:
    """Every function with NULL for every argument."""
    for function in world.functions:
        attempt(world, actor, function, [None] * len(function.types))


def test_text_that_is_no_text_is_refused_before_any_function(world: World) -> None:
    """Bytes that are no UTF-8 come as far as the server's own check of the encoding."""
    for function in world.functions:
        if "text" in function.types:
            world.connection.rollback()
            world.connection.execute("SET LOCAL ROLE portal_app")
            place = function.types.index("text")
            values = sql.SQL(", ").join(
                sql.SQL("convert_from('\\xff41', 'UTF8')") if number == place else sql.SQL(f"NULL::{kind}")
                for number, kind in enumerate(function.types)
            )
            with pytest.raises(psycopg.errors.CharacterNotInRepertoire):
                world.connection.execute(sql.SQL("SELECT public.{}({})").format(sql.Identifier(function.name), values))
