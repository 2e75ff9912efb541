"""What callers rely on stays: docs/api-contract.json is what the database offers, and what breaks them is refused."""

import copy
import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from conftest import Login, MakeDatabase, copy_database, drop_database
from psycopg import conninfo

from scripts import api_catalog, api_contract
from scripts.api_contract import Change, Contract

AFRESH = "python scripts/api_reference.py"
RELEASED = "## [Unreleased]\n\n## [1.0.0] - 2026-12-01\n\n- API 1.0.0: all of it.\n"
UNRELEASED = "## [Unreleased]\n\n- API 1.0.0: all of it.\n\n## [0.9.0] - 2026-11-01\n"


@pytest.fixture(scope="module")
def database(server: str, templates: Callable[[str], str]) -> Iterator[str]:
    """Make a database for this file."""
    name = "test_api_contract"
    drop_database(server, name)
    copy_database(server, templates("migrate"), name)
    yield conninfo.make_conninfo(server, dbname=name)
    drop_database(server, name)


def offered(connection: psycopg.Connection) -> Contract:
    """Return what a database offers, as the file would have it."""
    found: Contract = json.loads(api_contract.text(api_contract.contract(api_catalog.read(connection))))
    return found


@pytest.fixture(scope="module")
def before(database: str) -> Contract:
    """Return what the migrations offer."""
    with psycopg.connect(database) as connection:
        return offered(connection)


def test_contract_is_kept(before: Contract) -> None:
    """The file is what the database offers; where it is not, what breaks callers is named, and how to go on."""
    written = api_contract.written()
    assert written is not None
    refusals = api_contract.judge(written, before, api_contract.CHANGELOG.read_text(encoding="utf-8"))
    assert not refusals, "\n".join(refusals)
    assert written == before, f"stale: run `{AFRESH}`"


def test_changelog_names_the_version(before: Contract) -> None:
    """CHANGELOG.md has a line for the version of the API."""
    assert f"API {before['api_version']}" in api_contract.CHANGELOG.read_text(encoding="utf-8")


# Changes that are planted in the database ------------------------------------------------------------------

ADDRESS, PROGRAM = "p_ip_address inet DEFAULT NULL", "p_user_agent text DEFAULT NULL"
SESSION = "p_session_id text DEFAULT NULL"
CONTEXT = "public.set_app_context(uuid, inet, text, text)"


def context_of(arguments: str) -> str:
    """Make set_app_context() anew with other arguments, as if it always had them."""
    return (
        f"DROP FUNCTION {CONTEXT};"
        f"CREATE FUNCTION public.set_app_context({arguments}) RETURNS void LANGUAGE sql RETURN NULL::void;"
        "GRANT EXECUTE ON FUNCTION public.set_app_context TO portal_app;"
        "COMMENT ON FUNCTION public.set_app_context IS E'x.\\nErrors: PT400 y.'"
    )


def session_of(columns: str, values: str) -> str:
    """Make create_session() anew with other columns."""
    return (
        "DROP FUNCTION public.create_session;"
        f"CREATE FUNCTION public.create_session() RETURNS TABLE ({columns}) "
        f"LANGUAGE sql BEGIN ATOMIC SELECT {values}; END;"
        "GRANT EXECUTE ON FUNCTION public.create_session TO portal_app;"
        "COMMENT ON FUNCTION public.create_session IS E'x.\\nErrors: PT401 y.'"
    )


BREAKING = {
    "a column removed": (
        "ALTER TABLE public.mcp_servers DROP COLUMN version CASCADE",
        "column mcp_servers.version is gone",
    ),
    "a column renamed": (
        "ALTER TABLE public.users RENAME COLUMN email TO mail",
        "column users.email is gone",
    ),
    "a column of another type": (
        "ALTER TABLE public.teams ALTER COLUMN name TYPE text",
        "column teams.name was character varying(255), is text",
    ),
    "a column that may be NULL": (
        "ALTER TABLE public.teams ALTER COLUMN name DROP NOT NULL",
        "column teams.name may be NULL",
    ),
    "a column that has to be given": (
        "ALTER TABLE public.user_server_configs ADD COLUMN planted text NOT NULL",
        "column user_server_configs.planted is new and has to be given",
    ),
    "a column without its default": (
        "ALTER TABLE public.user_server_configs ALTER COLUMN enabled DROP DEFAULT",
        "column user_server_configs.enabled has no default",
    ),
    "a view removed": (
        "DROP VIEW public.server_statistics",
        "view server_statistics is gone",
    ),
    "a right withdrawn": (
        "REVOKE UPDATE (enabled) ON public.user_server_configs FROM portal_app",
        "column user_server_configs.enabled: portal_app has UPDATE is gone",
    ),
    "no DELETE any more": (
        "REVOKE DELETE ON public.user_server_configs FROM portal_app",
        "table user_server_configs: DELETE by portal_app is gone",
    ),
    "a function removed": (
        f"DROP FUNCTION {CONTEXT}",
        "function set_app_context(uuid, inet, text, text) is gone",
    ),
    "a function renamed": (
        f"ALTER FUNCTION {CONTEXT} RENAME TO set_context",
        "function set_app_context(uuid, inet, text, text) is gone",
    ),
    "a function nobody may call": (
        f"REVOKE EXECUTE ON FUNCTION {CONTEXT} FROM portal_app",
        "function set_app_context(uuid, inet, text, text) is gone",
    ),
    "an argument of another name": (
        context_of(f"p_user uuid, {ADDRESS}, {PROGRAM}, {SESSION}"),
        "function set_app_context(uuid, inet, text, text), argument 1: its name was p_user_id, is p_user",
    ),
    "another default": (
        context_of(f"p_user_id uuid, p_ip_address inet DEFAULT '::1', {PROGRAM}, {SESSION}"),
        "function set_app_context(uuid, inet, text, text), argument 2: its default was NULL::inet, is '::1'::inet",
    ),
    "a default withdrawn": (
        context_of(f"p_user_id uuid, p_ip_address inet, {PROGRAM}, {SESSION}"),
        "function set_app_context(uuid, inet, text, text), argument 2: its default was NULL::inet, is None",
    ),
    "an argument more that has to be given": (
        context_of("p_user_id uuid, p_ip_address inet, p_user_agent text, p_session_id text, p_more text"),
        "function set_app_context(uuid, inet, text, text) is gone",
    ),
    "another result": (
        "DROP FUNCTION public.require_app_user();"
        "CREATE FUNCTION public.require_app_user() RETURNS text LANGUAGE sql RETURN '';"
        "GRANT EXECUTE ON FUNCTION public.require_app_user() TO portal_app",
        "function require_app_user() returned uuid, returns text",
    ),
    "a column of rows renamed": (
        session_of(
            "session_id uuid, token text, refresh_token text, expires_at timestamptz", "NULL::uuid, '', '', now()"
        ),
        "function create_session(): column 2 was session_token text, is token text",
    ),
    "a column of rows removed": (
        session_of("session_id uuid, session_token text, refresh_token text", "NULL::uuid, '', ''"),
        "function create_session(): column expires_at is gone",
    ),
    "a SQLSTATE that is raised no more": (
        "COMMENT ON FUNCTION public.require_super_admin() IS E'Refuses.\\nErrors: PT401 nobody acts.'",
        "function require_super_admin(): SQLSTATE PT403 is gone",
    ),
    "an action audited no more": (
        "COMMENT ON FUNCTION public.set_user_role(uuid, text) IS "
        "E'Makes.\\nErrors: PT400 a; PT401 b; PT403 c; PT404 d; PT409 e.'",
        "function set_user_role(uuid, text): audited action role_changed is gone",
    ),
    "a value taken no more": (
        "ALTER TABLE public.users DROP CONSTRAINT valid_role; ALTER TABLE public.users ADD CONSTRAINT valid_role "
        "CHECK (role = ANY (ARRAY['super_admin'::text, 'standard_user']))",
        "users.valid_role: value team_admin is gone",
    ),
    "a key removed": (
        "ALTER TABLE public.user_server_configs DROP CONSTRAINT unique_user_server",
        "key user_server_configs.unique_user_server is gone",
    ),
}

ADDING = {
    "a function": (
        "CREATE FUNCTION public.planted() RETURNS void LANGUAGE sql RETURN NULL::void;"
        "GRANT EXECUTE ON FUNCTION public.planted() TO portal_app",
        "function planted() is new",
    ),
    "an argument with a default": (
        context_of(f"p_user_id uuid, {ADDRESS}, {PROGRAM}, {SESSION}, p_more text DEFAULT NULL"),
        "function set_app_context(uuid, inet, text, text) takes p_more too",
    ),
    "a default": (
        context_of(f"p_user_id uuid DEFAULT NULL, {ADDRESS}, {PROGRAM}, {SESSION}"),
        "function set_app_context(uuid, inet, text, text), argument 1: its default was None, is NULL::uuid",
    ),
    "a column of rows, the last": (
        session_of(
            "session_id uuid, session_token text, refresh_token text, expires_at timestamptz, more text",
            "NULL::uuid, '', '', now(), ''",
        ),
        "function create_session(): column more is new",
    ),
    "a column": (
        "ALTER TABLE public.teams ADD COLUMN planted text",
        "column teams.planted is new",
    ),
    "a view": (
        "CREATE VIEW public.planted AS SELECT 1 AS one; GRANT SELECT ON public.planted TO portal_app",
        "view planted is new",
    ),
    "a right": (
        "GRANT UPDATE (name) ON public.teams TO portal_app",
        "column teams.name: portal_app has UPDATE is new",
    ),
    "a value": (
        "ALTER TABLE public.users DROP CONSTRAINT valid_role; ALTER TABLE public.users ADD CONSTRAINT valid_role "
        "CHECK (role = ANY (ARRAY['super_admin'::text, 'team_admin', 'standard_user', 'guest']))",
        "users.valid_role: value guest is new",
    ),
    "a SQLSTATE": (
        "COMMENT ON FUNCTION public.api_version() IS E'x.\\nErrors: 57014 y.'",
        "function api_version(): SQLSTATE 57014 is new",
    ),
    "a channel": (
        "CREATE FUNCTION public.planted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM pg_catalog.pg_notify('planted', ''); RETURN NULL; END $$",
        "channel planted is new",
    ),
    "a channel that is a trigger's argument": (
        "CREATE FUNCTION public.planted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "PERFORM pg_notify(TG_ARGV[0], ''); RETURN NULL; END $$;"
        "CREATE TRIGGER planted AFTER INSERT ON public.teams FOR EACH ROW EXECUTE FUNCTION public.planted('told')",
        "channel told is new",
    ),
}


def after(database: str, statement: str) -> Contract:
    """Return what the database offers after a change, which is undone."""
    with psycopg.connect(database) as connection, connection.transaction(force_rollback=True):
        connection.execute(statement.encode())
        return offered(connection)


@pytest.mark.parametrize("change", BREAKING)
def test_change_that_breaks_is_refused(change: str, before: Contract, database: str) -> None:
    """Callers would notice: refused, released or not, until there is a new major version and CHANGELOG.md names it."""
    statement, what = BREAKING[change]
    now = after(database, statement)
    assert Change(True, what) in api_contract.compare(before, now)
    for changelog in (RELEASED, UNRELEASED):
        assert f"{what}: that breaks callers." in api_contract.judge(before, now, changelog)
    now["api_version"] = "1.1.0"
    assert f"{what}: that breaks callers." in api_contract.judge(before, now, RELEASED + "API 1.1.0")
    now["api_version"] = "2.0.0"
    (refusal,) = api_contract.judge(before, now, RELEASED)
    assert "CHANGELOG.md has no line with 'API 2.0.0'" in refusal
    assert api_contract.judge(before, now, f"{RELEASED}- API 2.0.0: {change}.\n") == []


@pytest.mark.parametrize("change", ADDING)
def test_change_that_adds_is_a_minor_one(change: str, before: Contract, database: str) -> None:
    """No caller notices: taken while the version is unreleased, and after that with a new minor version."""
    statement, what = ADDING[change]
    now = after(database, statement)
    changes = api_contract.compare(before, now)
    assert Change(False, what) in changes
    assert not [each for each in changes if each.breaks]
    assert api_contract.judge(before, now, UNRELEASED) == []
    assert any("raise the minor version" in refusal for refusal in api_contract.judge(before, now, RELEASED))
    now["api_version"] = "1.0.1"
    assert any("raise the minor version" in refusal for refusal in api_contract.judge(before, now, RELEASED))
    now["api_version"] = "1.1.0"
    assert api_contract.judge(before, now, f"{RELEASED}- API 1.1.0: {change}.\n") == []


def test_version_goes_up_alone(before: Contract) -> None:
    """An older version is refused, and the same contract is not."""
    assert api_contract.judge(before, before, RELEASED) == []
    older = copy.deepcopy(before) | {"api_version": "0.9.0"}
    assert any("it goes up alone" in refusal for refusal in api_contract.judge(before, older, "API 0.9.0"))


def test_contract_that_is_refused_is_not_written(
    before: Contract, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The script leaves the file as it is, and says why."""
    file = tmp_path / "contract.json"
    monkeypatch.setattr(api_contract, "FILE", file)
    with psycopg.connect(database) as connection:
        assert api_contract.write(api_catalog.read(connection)) == []
        written = file.read_text(encoding="utf-8")
        assert json.loads(written) == before
        with connection.transaction(force_rollback=True):
            connection.execute("DROP VIEW public.server_statistics")
            assert api_contract.write(api_catalog.read(connection))
    assert file.read_text(encoding="utf-8") == written


# Tools that read a schema by themselves --------------------------------------------------------------------


def test_schema_is_reflected(make_database: MakeDatabase, login: Login) -> None:
    """SQLAlchemy, as a service, finds every table and view, key and comment, and knows every type."""
    import sqlalchemy

    url = make_database(migrate=True)
    with psycopg.connect(url) as connection:
        api = api_catalog.read(connection)
    as_service = login(url, api_catalog.APP)
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(as_service))
    metadata = sqlalchemy.MetaData()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metadata.reflect(engine, views=True)
    inspector = sqlalchemy.inspect(engine)

    for relation in api.relations:
        table = metadata.tables[relation.name]
        columns = {column.name: column for column in table.columns}
        assert list(columns) == [column.name for column in relation.columns]
        for column in relation.columns:
            assert not isinstance(columns[column.name].type, sqlalchemy.types.NullType), (
                f"{relation.name}.{column.name}"
            )
            assert columns[column.name].nullable == column.nullable
            assert columns[column.name].comment == column.comment or relation.is_view
        # Of a view and its columns SQLAlchemy tells the comments when asked for them.
        assert inspector.get_table_comment(relation.name)["text"] == relation.comment
        assert [each["comment"] for each in inspector.get_columns(relation.name)] == [
            column.comment for column in relation.columns
        ]
        for key in relation.constraints:
            if key.kind == "p":
                assert tuple(each.name for each in table.primary_key) == key.columns
                assert table.primary_key.name == key.name
            elif key.kind == "f":
                (found,) = [each for each in table.foreign_key_constraints if each.name == key.name]
                assert (tuple(found.column_keys), found.referred_table.name) == (key.columns, key.target)
            elif key.kind == "u":
                found_unique = {
                    each["name"]: each["column_names"] for each in inspector.get_unique_constraints(table.name)
                }
                assert tuple(found_unique[key.name]) == key.columns
            else:
                assert key.name in {each["name"] for each in inspector.get_check_constraints(table.name)}
    engine.dispose()


def test_mappers_are_made_of_it(make_database: MakeDatabase) -> None:
    """SQLAlchemy's automap makes classes and their relationships, of every table that keys connect."""
    import sqlalchemy
    from sqlalchemy.ext.automap import automap_base
    from sqlalchemy.orm import configure_mappers

    url = make_database(migrate=True)
    engine = sqlalchemy.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(url))
    base = automap_base()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        base.prepare(autoload_with=engine)
        configure_mappers()
    with psycopg.connect(url) as connection:
        connected = {each.name for each in api_catalog.read(connection).connected()}
    assert connected <= set(base.classes.keys())
    assert hasattr(base.classes.user_server_configs, "mcp_servers")
    assert hasattr(base.classes.users, "user_sessions_collection")
    engine.dispose()
