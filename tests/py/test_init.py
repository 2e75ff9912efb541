"""What `portaldb init` makes, as a superuser and as a managed server's administrator, once and again."""

import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from conftest import Portaldb, clean_environment, drop_database, start_container
from psycopg import conninfo, sql
from support import ask, command, finish, one, paragraph

from portaldb import bootstrap
from portaldb.cluster import Cluster
from portaldb.errors import RefusedError

ROLES = sorted(role.name for role in bootstrap.ROLES)


@pytest.fixture(scope="module")
def fresh(request: pytest.FixtureRequest) -> Iterator[str]:
    """Return the superuser's URL of a server that has never seen us; the session's has our roles."""
    given = request.config.getoption("--postgres")
    if given and not str(given).isdigit():
        pytest.skip("init is tested on a server without our roles; use --postgres 17, or none")
    if given:
        with start_container() as container:
            yield container.url
        return
    cluster = Cluster.create_throwaway()
    yield cluster.url("postgres")
    cluster.destroy()


@pytest.fixture
def blank(fresh: str) -> Iterator[str]:
    """Return the URL of mcp_portal, which is not there, on that server; afterwards it is blank again."""
    yield conninfo.make_conninfo(fresh, dbname="mcp_portal")
    wipe(fresh)


def wipe(server: str) -> None:
    """Remove every database and role that a test made."""
    for name in ask(server, "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname <> 'postgres'"):
        drop_database(server, name)
    names = ask(server, "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND rolname <> 'postgres'")
    with psycopg.connect(server, autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
        for name in names:
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def administrator(blank: str) -> str:
    """Return the URL for a login such as managed servers give: CREATEROLE and CREATEDB, and no superuser."""
    return login(blank, "CREATEROLE CREATEDB")


def login(url: str, options: str) -> str:
    """Make a login with a password, over the network, and return its URL."""
    name, password = f"login_{secrets.token_hex(4)}", secrets.token_hex(16)
    server = conninfo.make_conninfo(url, dbname="postgres")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} " + options).format(sql.Identifier(name), password)
        )
        host = {"host": "127.0.0.1"} if str(connection.info.host).startswith("/") else {}
    return conninfo.make_conninfo(url, user=name, password=password, **host)


def server_of(url: str) -> str:
    """Return the URL of the maintenance database."""
    return conninfo.make_conninfo(url, dbname="postgres")


MEMBERS = """
    SELECT g.rolname, r.rolname FROM pg_auth_members AS m
    JOIN pg_roles AS g ON g.oid = m.roleid JOIN pg_roles AS r ON r.oid = m.member
    WHERE g.rolname IN (SELECT unnest(%s::text[])) OR r.rolname IN (SELECT unnest(%s::text[])) ORDER BY 1, 2
"""
SERVER = """
    SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls,
        shobj_description(oid, 'pg_authid')
    FROM pg_roles WHERE rolname !~ '^(pg_|login_)' ORDER BY 1
"""
DATABASES = """
    SELECT datname, pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datconnlimit,
        array(SELECT unnest(datacl)::text ORDER BY 1)
    FROM pg_database WHERE NOT datistemplate ORDER BY 1
"""
INSIDE = """
    SELECT e.extname, n.nspname FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
    UNION ALL
    SELECT nspname, pg_get_userbyid(nspowner) || array(SELECT unnest(nspacl)::text ORDER BY 1)::text
    FROM pg_namespace WHERE nspname !~ '^pg_|information_schema'
    ORDER BY 1, 2
"""


def state(url: str) -> list[object]:
    """Return everything that init has a say in."""
    server = server_of(url)
    seen: list[object] = [ask(server, SERVER), ask(server, MEMBERS, ROLES, ROLES), ask(server, DATABASES)]
    name = conninfo.conninfo_to_dict(url)["dbname"]
    if ask(server, "SELECT 1 FROM pg_database WHERE datname = %s", name):
        seen.append(ask(url, INSIDE))
    return seen


def psql(url: str, script: str, *options: str) -> "subprocess.CompletedProcess[str]":
    """Feed a script to psql, in the maintenance database, as init begins."""
    parts = conninfo.conninfo_to_dict(server_of(url))
    password = {"PGPASSWORD": str(parts["password"])} if "password" in parts else {}
    return subprocess.run(
        [
            shutil.which("psql") or "psql",
            "-X",
            "-q",
            *options,
            "-d",
            conninfo.make_conninfo(server_of(url), password=None),
        ],
        env=clean_environment() | password,
        input=script,
        capture_output=True,
        text=True,
        check=False,
    )


# As a superuser --------------------------------------------------------------------------------------------------


def test_init_makes_what_the_schema_needs(blank: str, portaldb: Portaldb) -> None:
    """The spec's database, the roles with no more power than is theirs, and nobody else's way in."""
    portaldb("init", database=blank, check=True)
    roles = {row[0]: row[1:8] for row in ask(blank, SERVER)}
    nothing, may_log_in = (
        (False, True, False, False, False, False, False),
        (False, True, False, False, True, False, False),
    )
    assert roles == {
        "mcp_admin": may_log_in,
        "portal_api": nothing,
        "portal_app": nothing,
        "portal_backup": (*nothing[:6], True),
        "portal_maintenance": may_log_in,
        "portal_monitor": nothing,
        "portal_runner": nothing,
        "postgres": (True,) * 7,
    }
    assert ask(blank, MEMBERS, ROLES, ROLES) == [
        ("pg_read_all_data", "portal_backup"),
        ("portal_api", "mcp_admin"),
        ("portal_maintenance", "mcp_admin"),
    ]
    (row,) = ask(blank, f"SELECT * FROM ({DATABASES}) AS d WHERE datname = 'mcp_portal'")
    assert row[:6] == ("mcp_portal", "mcp_admin", "UTF8", "en_US.utf8", "en_US.utf8", 100)
    assert row[6] == [
        "mcp_admin=CTc/mcp_admin",
        *(f"{role}=c/mcp_admin" for role in sorted(bootstrap.CONNECTING)),
    ]
    extensions = dict(ask(blank, INSIDE))
    for extension in ("uuid-ossp", "pgcrypto", "pg_stat_statements"):
        assert extensions[extension] == "public"
    assert "pg_cron" in extensions


def test_init_again_does_nothing(blank: str, portaldb: Portaldb) -> None:
    """The second run says so, and everything is as it was."""
    portaldb("init", database=blank, check=True)
    before = state(blank)
    done = portaldb("init", database=blank, check=True)
    assert "Nothing was missing" in done.stdout
    assert done.stderr == ""
    assert state(blank) == before
    assert portaldb("init", "--dry-run", database=blank, check=True).stdout == "-- nothing is missing\n"


@pytest.mark.parametrize("options", ["SUPERUSER", "CREATEROLE CREATEDB"])
def test_dry_run_is_what_psql_does(options: str, blank: str, portaldb: Portaldb) -> None:
    """It changes nothing, and its output given to psql has the effect of init itself."""
    url = login(blank, options)
    before = state(blank)
    printed = portaldb("init", "--dry-run", database=url, check=True)
    assert state(blank) == before
    assert printed.stderr == ""

    # What a managed server forbids is an error there too, and psql goes on as init does.
    done = psql(url, printed.stdout, *(["-v", "ON_ERROR_STOP=1"] if options == "SUPERUSER" else []))
    assert done.returncode == 0, done.stderr
    by_psql = state(blank)
    again = portaldb("init", database=url, check=True)
    assert "0 statements ran" in again.stdout or "Nothing was missing" in again.stdout

    wipe(server_of(blank))
    url = login(blank, options)
    portaldb("init", database=url, check=True)
    assert _without_login(state(blank)) == _without_login(by_psql)


def _without_login(seen: list[object]) -> str:
    """Leave the made-up name of the login out."""
    import re

    return re.sub(r"login_[0-9a-f]{8}", "login", repr(seen))


def test_dry_run_shows_only_what_is_missing(blank: str, portaldb: Portaldb) -> None:
    """On a server that has most of it, the rest."""
    portaldb("init", database=blank, check=True)
    ask(server_of(blank), "GRANT TEMPORARY ON DATABASE mcp_portal TO PUBLIC")
    printed = portaldb("init", "--dry-run", database=blank, check=True).stdout
    assert printed.splitlines() == ['\\connect "mcp_portal"', "", 'REVOKE ALL ON DATABASE "mcp_portal" FROM PUBLIC;']


def test_name_that_needs_quotes(blank: str, portaldb: Portaldb) -> None:
    """Any name that PostgreSQL takes will do, for init, for psql and for migrate."""
    name = "The \"portal\" %s {} 'x'"
    url = conninfo.make_conninfo(blank, dbname=name)
    done = psql(url, portaldb("init", "--dry-run", database=url, check=True).stdout, "-v", "ON_ERROR_STOP=1")
    assert done.returncode == 0, done.stderr
    assert "Nothing was missing" in portaldb("init", database=url, check=True).stdout
    portaldb("migrate", database=url, check=True)
    assert name in portaldb("status", "--check", database=url, check=True).stdout


def test_two_at_once_take_turns(blank: str, portaldb: Portaldb) -> None:
    """Both end well, and what both wanted is there once."""
    with ExitStack() as at_end:
        both = [at_end.enter_context(command("init", database=blank)) for _ in range(2)]
        done = [finish(process) for process in both]
    assert [each.returncode for each in done] == [0, 0], [each.stderr for each in done]
    assert "Nothing was missing" in portaldb("init", database=blank, check=True).stdout
    assert sum("Nothing was missing" in each.stdout for each in done) <= 1


def test_power_beyond_a_roles_own_is_taken_away(blank: str, portaldb: Portaldb) -> None:
    """Whoever gave portal_app BYPASSRLS opened every tenant to it: init closes that again, and says so."""
    everything = "SUPERUSER BYPASSRLS CREATEROLE CREATEDB REPLICATION"
    for name in ROLES:
        ask(server_of(blank), f"CREATE ROLE {name} {everything}")
    ask(server_of(blank), "ALTER ROLE portal_backup LOGIN")
    done = portaldb("init", database=blank, check=True)
    assert "take NOSUPERUSER, NOBYPASSRLS, NOCREATEROLE, NOCREATEDB, NOREPLICATION from portal_app" in done.stderr
    power = (
        "SELECT rolname FROM pg_roles "
        "WHERE rolname = ANY(%s) AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication)"
    )
    assert ask(blank, power, ROLES) == []
    assert ask(blank, "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s) AND rolbypassrls", ROLES) == [
        "portal_backup"
    ]
    # Backups run as a login; that was given on purpose.
    assert one(blank, "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'portal_backup'")


def test_database_made_by_hand_is_taken_over(blank: str, portaldb: Portaldb) -> None:
    """An existing database gets the owner, the limit, the extensions, and closes what older versions left open."""
    ask(server_of(blank), "CREATE DATABASE mcp_portal TEMPLATE template0")
    ask(blank, "ALTER SCHEMA public OWNER TO postgres; GRANT CREATE ON SCHEMA public TO PUBLIC")
    portaldb("init", database=blank, check=True)
    assert (
        one(blank, "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'public'") == "pg_database_owner"
    )
    made = login(blank, "IN ROLE portal_app")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        ask(made, "CREATE TABLE public.mine (id int)")
    portaldb("migrate", database=blank, check=True)


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_wrong_encoding_is_refused_before_anything(dry_run: list[str], blank: str, portaldb: Portaldb) -> None:
    """An encoding cannot be changed: a sentence, and no role made for a database that cannot serve."""
    ask(server_of(blank), "CREATE DATABASE mcp_portal TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    before = state(blank)
    said = paragraph(portaldb("init", *dry_run, database=blank), 4)
    assert "mcp_portal exists with encoding LATIN1" in said
    assert state(blank) == before


def test_missing_locale_is_said_with_the_way_to_mend_it(blank: str, portaldb: Portaldb) -> None:
    """The server's word, the packages, and the option; with the option it goes on."""
    said = paragraph(portaldb("init", "--locale", "tlh_QO.utf8", database=blank), 4)
    assert "tlh_QO.utf8" in said
    assert "localedef" in said
    assert "--locale C.UTF-8" in said
    portaldb("init", "--locale", "C.UTF-8", database=blank, check=True)
    assert one(blank, "SELECT datcollate FROM pg_database WHERE datname = 'mcp_portal'") == "C.UTF-8"


def test_missing_extension_is_said_with_its_package(
    blank: str, monkeypatch: pytest.MonkeyPatch, portaldb: Portaldb
) -> None:
    """An extension the server has not got is named, with the package that brings it."""
    monkeypatch.setattr(bootstrap, "EXTENSIONS", {"uuid-ossp": None, "not_there": None})
    with pytest.raises(RefusedError, match=r"add not_there.*postgresql-contrib"):
        bootstrap.init(blank, locale="C.UTF-8", dry_run=False, wait=0, say=lambda _line: None)


@pytest.mark.parametrize("name", ["postgres", "template1"])
def test_servers_own_database_is_refused(name: str, blank: str, portaldb: Portaldb) -> None:
    """An administrator's usual URL names postgres: that one is not taken over and closed to everyone."""
    before = state(blank)
    said = paragraph(portaldb("init", database=conninfo.make_conninfo(blank, dbname=name)), 2)
    assert f"the URL names the database {name}" in said
    assert state(blank) == before


def test_settings_of_the_login_do_not_matter(blank: str, portaldb: Portaldb) -> None:
    """A login that is read-only by default, or timed, can still do what it was asked to."""
    url = login(blank, "SUPERUSER")
    name = conninfo.conninfo_to_dict(url)["user"]
    ask(server_of(blank), f"ALTER ROLE {name} SET default_transaction_read_only = on")
    ask(server_of(blank), f"ALTER ROLE {name} SET statement_timeout = '100ms'")
    with psycopg.connect(server_of(url)) as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("CREATE ROLE portal_app")
    portaldb("init", database=url, check=True)
    portaldb("migrate", database=url, check=True)


# As a managed server's administrator -----------------------------------------------------------------------------


def test_administrator_gets_all_but_what_is_forbidden(
    administrator: str, blank: str, portaldb: Portaldb, fresh: str
) -> None:
    """It says what the server forbids and what is lost without, goes on, and migrate works as that login."""
    done = portaldb("init", database=administrator, check=True)
    forbidden = [line for line in done.stderr.splitlines() if line.startswith("forbidden")]
    expected = ["let portal_backup read past Row-Level Security", "add pg_stat_statements", "add pg_cron"]
    if one(fresh, "SELECT current_setting('server_version_num')::int >= 160000"):
        expected.insert(1, "grant pg_read_all_data to portal_backup")  # there only who has it may give it
    assert [line.removeprefix("forbidden  ").split(":")[0] for line in forbidden] == expected
    assert all("Without it: " in line for line in forbidden)
    assert f"{len(forbidden)} were forbidden" in done.stdout

    portaldb("migrate", database=administrator, check=True)
    portaldb("status", "--check", database=administrator, check=True)
    owners = ask(
        blank,
        "SELECT DISTINCT pg_get_userbyid(c.relowner) FROM pg_class AS c "
        "WHERE c.relnamespace = 'public'::regnamespace AND c.relname !~ '^pg_'",
    )
    assert sorted(owners) == ["mcp_admin", "portal_api"]  # app_reach is read in the rights of portal_api
    portaldb("rollback", "--to", "0", "--yes", database=administrator, check=True)

    again = portaldb("init", database=administrator, check=True)
    assert "0 statements ran" in again.stdout


@pytest.mark.parametrize("options", ["", "CREATEROLE", "CREATEDB"])
def test_login_that_cannot_is_told_so(options: str, blank: str, portaldb: Portaldb) -> None:
    """Who can make neither roles nor databases hears whom to ask, and nothing is changed."""
    url = login(blank, options)
    before = state(blank)
    said = paragraph(portaldb("init", database=url), 8)
    assert "CREATEROLE and CREATEDB" in said
    assert state(blank) == before


def test_administrator_finds_a_superusers_work_done(administrator: str, blank: str, portaldb: Portaldb) -> None:
    """Where a superuser has run init and made the login a member of the owner, nothing is left for it."""
    portaldb("init", database=blank, check=True)
    name = str(conninfo.conninfo_to_dict(administrator)["user"])
    ask(blank, f"GRANT mcp_admin TO {name}")
    assert "Nothing was missing" in portaldb("init", database=administrator, check=True).stdout


def test_administrator_cannot_take_a_superusers_power(administrator: str, blank: str, portaldb: Portaldb) -> None:
    """A portal_app that is a superuser is not ours to tame without being one: refused, with the server's word."""
    ask(server_of(blank), "CREATE ROLE portal_app SUPERUSER")
    said = paragraph(portaldb("init", database=administrator), 8)
    assert "take NOSUPERUSER from portal_app" in said
