"""docs/api.md is what the catalog says, and that is so: comments, SQLSTATEs, audited actions, examples, diagrams."""

import re
from collections.abc import Iterator

import psycopg
import pytest
from conftest import ROOT, copy_database, drop_database
from psycopg import conninfo, sql

from scripts import api_catalog, api_reference
from scripts.api_catalog import APP, ROLES, Api, Function

USER = "7f3a4a52-0d6b-4c4e-9d0f-6a6a0f1d2c3b"
"""The user that examples name, and in whose name they run."""

PARAMETER = "a key for examples"
"""What stands for $1."""

FROM_CONSTRAINTS = re.compile(r"22...|23...|42501")
"""What the server itself raises for a value or a grant: no RAISE needs to stand in a source."""

AFRESH = "python scripts/api_reference.py"

HARMLESS = {
    # Called in the name of the context's user, which it then has nothing against.
    ("create_audit_log", "42501"): re.compile(r"create_audit_log\s*\(\s*(?:NULL|v_user_id)\s*,"),
    # Called without a session's id, or with one of a row.
    ("set_app_context", "PT400"): re.compile(r"set_app_context\s*\((?:[^(),]*,){0,2}[^(),]*(?:,[^(),]*::text\s*)?\)"),
}
"""A function that is called, an error of it, and the calls that cannot meet it."""


@pytest.fixture(scope="module")
def database(server: str, templates: object) -> Iterator[str]:
    """Make a database for this file."""
    name = "test_api_reference"
    drop_database(server, name)
    copy_database(server, templates("migrate"), name)  # type: ignore[operator]
    yield conninfo.make_conninfo(server, dbname=name)
    drop_database(server, name)


@pytest.fixture(scope="module")
def api(database: str) -> Api:
    """Read the catalog."""
    with psycopg.connect(database) as connection:
        return api_catalog.read(connection)


# The page ------------------------------------------------------------------------------------------------


def test_page_is_what_the_catalog_says(api: Api) -> None:
    """docs/api.md is made anew when the SQL changes."""
    page = api_reference.PAGE.read_text(encoding="utf-8")
    assert page == api_reference.page(api, page), f"stale: run `{AFRESH}`"


def test_page_tells_a_planted_change(database: str) -> None:
    """A column, a default or a comment more, and the page is stale."""
    page = api_reference.PAGE.read_text(encoding="utf-8")
    with psycopg.connect(database) as connection:
        for statement in (
            "ALTER TABLE public.users ADD COLUMN planted text",
            "COMMENT ON COLUMN public.users.email IS 'Planted.'",
            "COMMENT ON FUNCTION public.api_version() IS 'Planted.'",
            "GRANT INSERT ON public.teams TO portal_app",
            "ALTER TABLE public.users ALTER COLUMN role DROP DEFAULT",
        ):
            with connection.transaction(force_rollback=True):
                connection.execute(statement.encode())
                assert page != api_reference.page(api_catalog.read(connection), page), statement


def test_page_links_to_what_is_there() -> None:
    """Every link within the page meets a heading, and every other a file."""
    page = api_reference.PAGE.read_text(encoding="utf-8")
    headings = {api_reference.anchor(heading) for heading in re.findall(r"^#+ (.+)$", page, re.MULTILINE)}
    for target in re.findall(r"\]\(([^)]+)\)", page):
        if target.startswith("#"):
            assert target[1:] in headings, target
        else:
            assert (ROOT / "docs" / target.partition("#")[0]).exists(), target


def test_function_has_a_group(api: Api) -> None:
    """Nothing that services call is told under 'Other'."""
    without = [each.signature for each in api_reference.grouped(api).get("", [])]
    assert not without, f"no group of scripts/api_reference.py takes {without}"


def test_states_are_those_of_the_check(api: Api) -> None:
    """The diagram of container_state has each state that the CHECK knows, and no other."""
    (check,) = [key for each in api.relations for key in each.constraints if key.name == "valid_container_state"]
    drawn = {state for arrow in api_reference.STATES for state in arrow[:2]} - {""}
    assert drawn == set(check.values)


# Comments ------------------------------------------------------------------------------------------------


def test_object_of_services_has_a_comment(api: Api) -> None:
    """Function, table, view and column: a sentence at least."""
    functions = [each.signature for role in ROLES for each in api.functions_of(role) if not each.said[""].endswith(".")]
    relations = [each.name for role in ROLES for each in api.relations_of(role) if not each.comment.endswith(".")]
    columns = [
        f"{relation.name}.{column.name}"
        for role in ROLES
        for relation in api.relations_of(role)
        for column in relation.columns
        if not column.comment
    ]
    assert not functions + relations + columns, "these have no COMMENT that is a sentence"


def test_function_of_services_shows_itself_in_use(api: Api) -> None:
    """Every function that portal_app may call has an Example line, and every argument a name."""
    without = [each.signature for each in api.functions_of(APP) if "Example" not in each.said]
    assert not without, "no Example line in the COMMENT"
    nameless = [each.signature for each in api.functions_of(APP) if not all(given.name for given in each.arguments)]
    assert not nameless, "an argument without a name"


def test_sqlstate_is_documented(api: Api) -> None:
    """Each SQLSTATE in a COMMENT is in the page's list, and class PT's is its HTTP status."""
    told = {f"{code} of {each.signature}": code for each in api.functions for code in each.errors}
    assert set(told.values()) <= set(api_reference.HTTP), told
    assert all(code == f"PT{status}" for code, (status, *_) in api_reference.HTTP.items() if code.startswith("PT"))


def reached(api: Api, function: Function, seen: frozenset[str] = frozenset()) -> set[str]:
    """Return the SQLSTATEs that a function raises, itself and through what it calls, but for those it handles."""
    found: set[str] = set()
    for called in api.calls(function):
        if called.name not in seen:
            found |= {
                code
                for code in reached(api, called, seen | {function.name})
                if not harmless(function, called.name, code)
            }
    if "OTHERS" in function.catches:
        found = set()
    # What it raises and handles itself, to undo what it did, is of no class of ours.
    own = {code for code in function.raises if code.startswith("PT") or code not in function.catches}
    return (found - function.catches) | own


def possible(api: Api, function: Function, seen: frozenset[str] = frozenset()) -> set[str]:
    """Return those that it may raise, handled or not: what is caught may be raised again."""
    found = set(function.raises | function.catches)
    for called in api.calls(function):
        if called.name not in seen:
            found |= possible(api, called, seen | {function.name})
    return found


def harmless(function: Function, called: str, code: str) -> bool:
    """Say whether a function calls another only in ways that cannot meet an error of it."""
    pattern = HARMLESS.get((called, code))
    calls = len(re.findall(rf"\b{called}\s*\(", function.code_alone))
    return pattern is not None and len(pattern.findall(function.code_alone)) == calls


def differing(api: Api) -> list[str]:
    """Return where a COMMENT's SQLSTATEs are not those of the source."""
    found = []
    for function in (each for each in api.functions if each.roles and each.is_called):
        # Some of the owner's say nothing of errors: those that services call do.
        if APP not in function.roles and not function.errors:
            continue
        unsaid = reached(api, function) - set(function.errors)
        unmade = {code for code in function.errors if not FROM_CONSTRAINTS.fullmatch(code)} - possible(api, function)
        found += [f"{function.signature} raises {code}, and its COMMENT does not say so" for code in sorted(unsaid)]
        found += [f"{function.signature} says that it raises {code}, and nothing does" for code in sorted(unmade)]
    return found


def test_sqlstates_are_those_of_the_source(api: Api) -> None:
    """A COMMENT names the SQLSTATEs that the function and our functions below it raise, no more and no fewer."""
    assert differing(api) == []


PLANTED = {
    "raises PT404, and its COMMENT": """
        CREATE FUNCTION public.planted() RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'no' USING ERRCODE = 'PT404';
        END $$;
        COMMENT ON FUNCTION public.planted() IS 'Planted.'""",
    "raises 22023, and its COMMENT": """
        CREATE FUNCTION public.planted() RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'no' USING ERRCODE = 'invalid_parameter_value';
        END $$""",
    "raises P0001, and its COMMENT": """
        CREATE FUNCTION public.planted() RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'no';
        END $$""",
    "raises PT401, and its COMMENT": """
        CREATE FUNCTION public.planted() RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM public.require_super_admin();
        END $$;
        COMMENT ON FUNCTION public.planted() IS E'Planted.\\nErrors: PT403 no.'""",
    "raises 42501, and its COMMENT": """
        CREATE FUNCTION public.planted() RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            PERFORM public.create_audit_log(NULL, 'login', NULL, NULL, NULL, NULL, NULL);
            PERFORM public.create_audit_log(gen_random_uuid(), 'login', NULL, NULL, NULL, NULL, NULL);
        END $$""",
    "says that it raises PT409, and nothing does": """
        CREATE FUNCTION public.planted() RETURNS void LANGUAGE sql BEGIN ATOMIC SELECT; END;
        COMMENT ON FUNCTION public.planted() IS E'Planted.\\nErrors: PT409 no.'""",
}


@pytest.mark.parametrize("wanted", PLANTED)
def test_sqlstate_that_is_planted_is_named(wanted: str, database: str) -> None:
    """An error more or fewer than the COMMENT says, in the source or below it, is told by function and code."""
    with psycopg.connect(database) as connection, connection.transaction(force_rollback=True):
        for statement in (PLANTED[wanted], "GRANT EXECUTE ON FUNCTION public.planted() TO portal_app"):
            connection.execute(statement.encode())
        (found, *more) = differing(api_catalog.read(connection))
    assert more == []
    assert found.startswith("planted() ")
    assert wanted in found


HANDLED = """
CREATE FUNCTION public.planted() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_id uuid := gen_random_uuid();
BEGIN
    -- RAISE EXCEPTION 'never' USING ERRCODE = 'PT404';
    PERFORM public.create_audit_log(NULL, 'login', NULL, NULL, NULL, NULL, NULL);
    PERFORM public.set_app_context(NULL, NULL, 'x', v_id::text);
    BEGIN
        PERFORM public.require_super_admin();
    EXCEPTION
        WHEN SQLSTATE 'PT401' OR SQLSTATE 'PT403' THEN
            NULL;
    END;
END $$
"""


def test_sqlstate_that_is_handled_need_not_be_named(database: str) -> None:
    """What is caught, stands in a remark or cannot happen by how it is called: none of it is the function's."""
    with psycopg.connect(database) as connection, connection.transaction(force_rollback=True):
        for statement in (HANDLED, "GRANT EXECUTE ON FUNCTION public.planted() TO portal_app"):
            connection.execute(statement.encode())
        assert differing(api_catalog.read(connection)) == []


def test_audited_actions_are_those_of_the_source(api: Api) -> None:
    """What a COMMENT says is audited stands in the source or below it; what is written by a literal is said."""
    (check,) = [key for each in api.relations for key in each.constraints if key.name == "valid_action"]
    for function in api.functions_of(APP):
        below = [function, *(each for each in api.calls(function) if each.name != "create_audit_log")]
        sources = "\n".join(each.code_alone for each in below)
        written = set(re.findall(r"create_audit_log\s*\(\s*(?:NULL|v_user_id)\s*,\s*'(\w+)'", sources))
        assert set(function.audits) <= set(check.values), function.signature
        assert written <= set(function.audits), f"{function.signature} does not say that it audits all of {written}"
        unmade = [action for action in function.audits if f"'{action}'" not in sources]
        assert not unmade, f"{function.signature} says that it audits {unmade}, and nothing does"


# Examples ------------------------------------------------------------------------------------------------


WORLD = """
INSERT INTO public.users (id, azure_oid, email, role) VALUES ('{user}', '{user}', 'a@example.org', '{role}');
INSERT INTO public.users (azure_oid, email, role) VALUES ('another', 'b@example.org', 'super_admin')
"""
"""Who acts, and another super_admin, so that neither is the last."""

THINGS = """
INSERT INTO public.users (id, azure_oid, email) VALUES ('{id}', '{id}', 'c@example.org') ON CONFLICT DO NOTHING;
INSERT INTO public.mcp_servers (id, name, image, catalog_type) VALUES ('{id}', '{id}', 'a', 'predefined');
INSERT INTO public.user_server_configs (id, user_id, server_id, enabled) VALUES ('{id}', '{user}', '{id}', true);
INSERT INTO public.teams (id, name, created_by) VALUES ('{id}', 'made up', '{user}');
INSERT INTO public.team_members (team_id, user_id, role) VALUES ('{id}', '{user}', 'admin')
"""
"""What an id in an example may be of: somebody, a server, a configuration of it, a team."""


def outcomes(api: Api, database: str, role: str) -> Iterator[tuple[Function, psycopg.Error | None]]:
    """Run each example as a user of a role, where what it names is there, and yield what came of it."""
    with psycopg.connect(database, cursor_factory=psycopg.RawCursor) as connection:
        for function in api.functions_of(APP):
            example = function.said["Example"]
            error: psycopg.Error | None = None
            with connection.transaction(force_rollback=True):
                connection.execute(WORLD.format(user=USER, role=role).encode())
                for each in sorted(set(re.findall(r"'([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})'", example))):
                    connection.execute(THINGS.format(id=each, user=USER).encode())
                connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(APP)))
                connection.execute("SELECT public.set_app_context($1)", [USER])
                try:
                    with connection.transaction():
                        connection.execute(example.encode(), [PARAMETER] if "$1" in example else None).fetchall()
                        connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
                except psycopg.Error as raised:
                    error = raised
            yield function, error


@pytest.mark.parametrize("role", ["standard_user", "super_admin"])
def test_example_runs(role: str, api: Api, database: str) -> None:
    """Each example calls its function, and gives a result or an error that its COMMENT names."""
    for function, error in outcomes(api, database, role):
        assert f"{function.name}(" in function.said["Example"], function.signature
        assert error is None or error.sqlstate in function.errors, f"{function.signature}: {error}"


NEED_MORE = {
    *("authenticate", "end_session"),  # a session
    "remove_custom_server",  # a server of the user's own
    *("accept_team_invitation", "decline_team_invitation", "withdraw_team_invitation"),  # an invitation
    *("leave_team", "remove_team_member", "set_team_role"),  # another member
}
"""Whose examples give an error that is told, for want of something."""


def test_example_gives_a_result(api: Api, database: str) -> None:
    """For a standard_user or a super_admin it does, where what it names is there."""
    roles = ("standard_user", "super_admin")
    refused = [{each.name: error for each, error in outcomes(api, database, role) if error} for role in roles]
    failed = {name: error for name, error in refused[0].items() if name in refused[1] and name not in NEED_MORE}
    assert not failed


# Diagrams ------------------------------------------------------------------------------------------------


def diagrams() -> list[str]:
    """Return the diagrams of the page."""
    return re.findall(r"```mermaid\n(.+?)\n```", api_reference.PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_diagrams_keep_to_the_grammar() -> None:
    """Each line is of a form that Mermaid's documentation has: it draws nothing at all where one is not."""
    word, name = r"[A-Za-z][\w()\[\]-]*", r"[a-z]\w*"
    lines = {
        "erDiagram": rf"    {name} [|o}}]{{1,2}}--[|o{{]{{1,2}} {name} : [\w ]+|    {name} \{{|    \}}"
        rf"|        {word} {name}( (PK|FK|UK)(, (PK|FK|UK))*)?",
        "stateDiagram-v2": rf"    (\[\*\]|{name}) --> {name}(: [\w, ]+)?",
    }
    first = [diagram.splitlines()[0] for diagram in diagrams()]
    assert first == list(lines)
    for kind, diagram in zip(first, diagrams(), strict=True):
        for line in diagram.splitlines()[1:]:
            assert re.fullmatch(lines[kind], line), line
