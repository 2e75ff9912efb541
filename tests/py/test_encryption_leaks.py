"""Which ways of encrypting leave a key or a text where neither belongs: logs, statistics, dumps, WAL, files.

Every statement is given a key and a text that no other has, and afterwards all that a server keeps and shows is
searched for them. What the SQL functions leave stands in two tables of docs/encryption.md, which are read here: each
line is a run, and what is found must be what the line says, no less and no more. The Python path leaves nothing.
"""

import base64
import json
import logging
import re
import secrets
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from traceback import TracebackException

import psycopg
import pytest
from conftest import ROOT, Portaldb, clean_environment, start_container
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from psycopg import conninfo, sql
from support import ask, one

from portaldb.cluster import Cluster
from portaldb.encryption import DecryptError, Keyring, base64url, decrypt, encrypt
from portaldb.encryption.keyring import Enc

PAGE = ROOT / "docs/encryption.md"

# What is searched for ------------------------------------------------------------------------------------

KEY_MARK, TEXT_MARK = secrets.token_bytes(16), secrets.token_hex(8)
"""What all keys, and all texts, of this run begin with."""


@dataclass(frozen=True)
class Canary:
    """A key and a text that no other statement has."""

    enc: Enc = Enc.CBC
    key_own: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    text_own: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def material(self) -> bytes:
        """The bytes of the key; each half of 64, one for the tag and one for AES, tells whose it is."""
        return (KEY_MARK + self.key_own) * (2 if self.enc is Enc.CBC else 1)

    @property
    def key(self) -> str:
        """The key as SQL takes it."""
        return base64url.encode(self.material)

    @property
    def text(self) -> str:
        """The text to be encrypted."""
        return TEXT_MARK + self.text_own

    @property
    def keyring(self) -> Keyring:
        """The key as Python takes it."""
        entry = {"kty": "oct", "k": self.key, "kid": "leak", "state": "primary"}
        return Keyring.from_json(json.dumps({"keys": [entry]}))


def forms(piece: bytes) -> Iterator[bytes]:
    """Write a piece in every way in which it could have got somewhere, whatever stands before and after it."""
    yield piece
    yield piece.hex().encode()
    yield piece.hex().upper().encode()
    yield "".join(f"\\x{byte:02x}" for byte in piece).encode()
    yield "".join(f"\\{byte:03o}" for byte in piece).encode()
    yield repr(piece)[2:-1].encode()
    # As the server prints a constant of a parse tree; its lines may break within a number, see `watched`
    yield "".join(str(byte if byte < 128 else byte - 256) for byte in piece).encode()
    for before in range(3):
        whole = base64.b64encode(bytes(before) + piece)
        # Without the characters that hold bits of what stands before and after
        inner = whole[-(-before * 8 // 6) : (before + len(piece)) * 8 // 6]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))


def needles(canary: Canary) -> dict[str, list[bytes]]:
    """Return what tells this canary's key and text from any other's."""
    return {
        "key": [*forms(canary.key_own), *forms(canary.key[24:40].encode())],
        "text": [*forms(canary.text_own.encode())],
    }


MARKS = [*forms(KEY_MARK), *forms(Canary().key[:16].encode()), *forms(TEXT_MARK.encode())]

Found = Mapping[str, set[str]]
"""Of whom something is found, and what: 'key' or 'text'."""


def search(where: bytes, canaries: Mapping[str, Canary]) -> Found:
    """Return of whom the key or the text stands there."""
    marked = [hit.start() for mark in MARKS if mark in where for hit in re.finditer(re.escape(mark), where)]
    where = b"\n".join(where[at : at + 600] for at in marked)  # quicker, for what tells them apart follows the mark
    found = {
        name: {what for what, written in needles(canary).items() if any(form in where for form in written)}
        for name, canary in canaries.items()
    }
    return {name: what for name, what in found.items() if what}


# A server whose settings are ours, and all that it keeps -------------------------------------------------

OPEN = {
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "log_min_error_statement": "error",
    "log_min_messages": "debug5",
    "log_error_verbosity": "verbose",
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1",
    "log_transaction_sample_rate": "1",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_verbose": "on",
    "auto_explain.log_nested_statements": "on",
    "pg_stat_statements.track": "all",
    "pg_stat_statements.track_utility": "on",
}
"""Everything is logged: the server's own settings."""

DEFAULTS = {
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_error_statement": "error",
    "log_min_messages": "warning",
    "log_error_verbosity": "default",
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "0",
    "log_transaction_sample_rate": "0",
    "auto_explain.log_min_duration": "-1",
    "pg_stat_statements.track_utility": "on",
}
"""PostgreSQL's own."""

DEBUG = {"debug_print_parse": "on", "debug_print_rewritten": "on", "debug_print_plan": "on"}
"""What is on to look into the server itself; any login may set it."""

USER, SERVER_ID = "a0000000-0000-0000-0000-000000000001", "0b000000-0000-0000-0000-000000000001"
CONTEXT = f"user_server_configs.encrypted_config.{USER}.{SERVER_ID}"
SETUP = f"""
CREATE ROLE leaking_service LOGIN IN ROLE portal_app;
INSERT INTO public.users (id, azure_oid, email) VALUES ('{USER}', 'alpha', 'alpha@example.org');
INSERT INTO public.mcp_servers (id, name, image, catalog_type) VALUES ('{SERVER_ID}', 'a', 'a', 'predefined');
"""


@dataclass(frozen=True)
class Server:
    """A migrated database on a server that logs all it can, and a service's login."""

    url: str
    service: str
    log: Callable[[int], bytes]
    """Return the log from a position on."""
    read: Callable[[str], bytes]
    """Return all files of a folder of the data directory, one after the other."""
    dump: Callable[[str], bytes]
    """Return a dump in a format, plain or custom."""

    def give(self, settings: Mapping[str, str]) -> None:
        """Give the service's sessions these settings, as a DBA does."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("ALTER ROLE leaking_service RESET ALL")
            for name, value in settings.items():
                parts = sql.SQL(".").join(map(sql.Identifier, name.split(".")))
                connection.execute(sql.SQL("ALTER ROLE leaking_service SET {} = {}").format(parts, value))


def _from(path: Path, position: int) -> bytes:
    with path.open("rb") as file:
        file.seek(position)
        return file.read()


@contextmanager
def server_here(settings: Mapping[str, str]) -> Iterator[Server]:
    """Start a throwaway cluster."""
    cluster = Cluster.create_throwaway()
    try:
        cluster.stop()
        lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
        (cluster.data / "conf.d/90-yours.conf").write_text("".join(lines))
        cluster = cluster.start()
        url = cluster.url("leaks")

        def dump(kind: str) -> bytes:
            program = [str(cluster.programs / "pg_dump"), f"--format={kind}", "--compress=0", "-d", url]
            return subprocess.run(program, env=clean_environment(), capture_output=True, check=True).stdout

        def read(folder: str) -> bytes:
            return b"".join(path.read_bytes() for path in (cluster.data / folder).rglob("*") if path.is_file())

        yield Server(url, "", partial(_from, cluster.log), read, dump)
    finally:
        cluster.destroy()


@contextmanager
def server_in_container(settings: dict[str, str]) -> Iterator[Server]:
    """Start PostgreSQL of the image that the tests with --postgres 17 use."""
    words = [f"-c {name}={value}" for name, value in (settings | {"logging_collector": "on"}).items()]
    with start_container(" ".join(words)) as container:

        def run(*argv: str) -> bytes:
            return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True).stdout

        def inside(*argv: str) -> bytes:
            return run("docker", "exec", container.name, *argv)

        data = one(container.url, "SHOW data_directory")
        yield Server(
            conninfo.make_conninfo(container.url, dbname="leaks"),
            "",
            lambda since: inside("sh", "-c", f"cat {data}/log/* | tail -c +{since + 1}"),
            lambda folder: inside("sh", "-c", f"find {data}/{folder} -type f -exec cat '{{}}' + || true"),
            lambda kind: inside("pg_dump", "-U", "postgres", f"--format={kind}", "--compress=0", "-d", "leaks"),
        )


@pytest.fixture(scope="module")
def server(request: pytest.FixtureRequest, portaldb: Portaldb) -> Iterator[Server]:
    """Make a server of its own: all that it keeps and says is searched."""
    given = request.config.getoption("--postgres")
    if given and not str(given).isdigit():
        pytest.skip("reads the server's log and files, which are out of reach")
    settings = OPEN | {"shared_preload_libraries": "pg_cron,pg_stat_statements,auto_explain", "full_page_writes": "on"}
    with (server_in_container if given else server_here)(settings) as made:
        portaldb("init", "--locale", "C.UTF-8", database=made.url, check=True)
        portaldb("migrate", database=made.url, check=True)
        password = secrets.token_hex(16)
        with psycopg.connect(made.url, autocommit=True) as connection:
            connection.execute(SETUP.encode())
            connection.execute(sql.SQL("ALTER ROLE leaking_service PASSWORD {}").format(password))
        here = {} if given else {"host": "127.0.0.1"}  # where a password is asked for
        service = conninfo.make_conninfo(made.url, user="leaking_service", password=password, **here)
        yield Server(made.url, service, made.log, made.read, made.dump)


@dataclass
class Places:
    """What a server keeps and shows, gathered while statements run."""

    said: dict[str, bytes] = field(default_factory=dict)

    def add(self, place: str, said: object) -> None:
        """Put something to what a place holds."""
        self.said[place] = self.said.get(place, b"") + (said if isinstance(said, bytes) else str(said).encode())


@contextmanager
def watched(server: Server) -> Iterator[Places]:
    """Gather what the server logs and counts while the block runs."""
    places = Places()
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("SELECT pg_stat_statements_reset()")
        before = len(server.log(0))
        yield places
        places.add("statistics", connection.execute("SELECT query FROM pg_stat_statements").fetchall())
        log = server.log(before)
        places.add("log", log)
        places.add("log", b"".join(log.split()))  # what was broken into lines


def gather_files(server: Server, places: Places) -> None:
    """Add what is on disk, and what a dump holds."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
    for kind in ("plain", "custom"):
        places.add(f"{kind} dump", server.dump(kind))
    for place, folders in {"WAL": ["pg_wal"], "tables": ["base", "global"], "statistics": ["pg_stat_tmp"]}.items():
        for folder in folders:
            places.add(place, server.read(folder))


# The SQL path --------------------------------------------------------------------------------------------

BOUND_TO = "public.sensitive_data_context('user_server_configs', 'encrypted_config', {user}, {server})"
INSERT = (
    "INSERT INTO public.user_server_configs (user_id, server_id, encrypted_config) "
    f"VALUES ({{user}}, {{server}}, public.encrypt_sensitive_data({{text}}, {{key}}, {BOUND_TO})) RETURNING id"
)

WORKING = {
    "encrypt": "SELECT public.encrypt_sensitive_data({text}, {key})",
    "insert": INSERT,
    "decrypt": "SELECT public.decrypt_sensitive_data({value}, {key})",
    "decrypt bound": f"SELECT public.decrypt_sensitive_data({{bound}}, {{key}}, {BOUND_TO}, 'leak')",
}
"""Statements that work."""

FAILING = {
    "cancelled": "SELECT public.encrypt_sensitive_data({text}, {key}), pg_sleep(10)",
    "refused": INSERT.replace("{server}", "{unknown}"),
    "plain text": re.sub(r"public.encrypt_sensitive_data\(.*\)\)", "{text})", INSERT),
    "other value": "SELECT public.decrypt_sensitive_data({other}, {key})",
    "other row": "SELECT public.decrypt_sensitive_data({bound}, {key})",
}
"""Statements that fail: cancelled, refused by a constraint or the trigger, with a value of another key or row."""

Values = Mapping[str, str]
Way = Callable[[psycopg.Connection, str, Values], None]


def composed(text: str, values: Values) -> sql.Composed:
    """Return a statement with its values in it."""
    return sql.SQL(text).format(**{name: sql.Literal(value) for name, value in values.items()})


def parameters(connection: psycopg.Connection, text: str, values: Values) -> None:
    """Send the values beside the statement."""
    connection.execute(text.format(**{name: f"%({name})s" for name in values}).encode(), values)


def prepared_parameters(connection: psycopg.Connection, text: str, values: Values) -> None:
    """Send the values to a statement that the driver prepared."""
    connection.execute(text.format(**{name: f"%({name})s" for name in values}).encode(), values, prepare=True)


def literals(connection: psycopg.Connection, text: str, values: Values) -> None:
    """Send one text with the values in it, as psql does, and drivers that put parameters in themselves."""
    connection.execute(composed(text, values))


def execute(connection: psycopg.Connection, text: str, values: Values) -> None:
    """PREPARE with $1, and EXECUTE with the values."""
    used = [name for name in values if f"{{{name}}}" in text]
    types = ", ".join("uuid" if name in {"user", "server", "unknown"} else "text" for name in used)
    numbered = text.format(**{name: f"${number}" for number, name in enumerate(used, 1)})
    connection.execute(f"PREPARE leak ({types}) AS {numbered}".encode())
    given = sql.SQL(", ").join(sql.Literal(values[name]) for name in used)
    connection.execute(sql.SQL("EXECUTE leak({})").format(given))


def prepare(connection: psycopg.Connection, text: str, values: Values) -> None:
    """PREPARE a statement with the values in it."""
    connection.execute(sql.SQL("PREPARE leak AS {}").format(composed(text, values)))
    connection.execute("EXECUTE leak")


def copy(connection: psycopg.Connection, text: str, values: Values) -> None:
    """COPY what a statement returns."""
    with connection.cursor().copy(sql.SQL("COPY ({}) TO STDOUT").format(composed(text, values))) as rows:
        list(rows)


def declare(connection: psycopg.Connection, text: str, values: Values) -> None:
    """DECLARE a cursor and fetch from it; the transaction stays open."""
    connection.execute("BEGIN")
    connection.execute(sql.SQL("DECLARE leak CURSOR FOR {}").format(composed(text, values)))
    connection.execute("FETCH ALL FROM leak")


def do(connection: psycopg.Connection, text: str, values: Values) -> None:
    """DO, with the values in its body."""
    body = text.replace("SELECT", "PERFORM").replace(" RETURNING id", "")
    connection.execute(sql.SQL("DO $do$ BEGIN {}; END $do$").format(composed(body, values)))


def set_(connection: psycopg.Connection, text: str, values: Values) -> None:
    """SET what is secret for the session, and let the statement ask for it."""
    secret = [name for name in ("key", "text") if f"{{{name}}}" in text]
    for name in secret:
        connection.execute(sql.SQL("SET app.{} = {}").format(sql.Identifier(name), values[name]))
        text = text.replace(f"{{{name}}}", f"current_setting('app.{name}')")
    connection.execute(composed(text, values))


WAYS: dict[str, tuple[Way, ...]] = {
    "parameters": (parameters, prepared_parameters),
    "literals": (literals,),
    "EXECUTE": (execute,),
    "PREPARE": (prepare,),
    "COPY": (copy,),
    "DECLARE": (declare,),
    "DO": (do,),
    "SET": (set_,),
}
"""The columns of the page's tables."""


def run(server: Server, places: Places) -> dict[str, Canary]:
    """Run every statement in every way as the service; return the canaries by 'way: statement'."""
    canaries = {}
    for ways in WAYS.values():
        for way in ways:
            for name, text in (WORKING | FAILING).items():
                if way is declare and text.startswith("INSERT"):
                    continue
                canary = canaries[f"{way.__name__}: {name}"] = Canary()
                run_one(server, places, way, name, canary)
    return canaries


def run_one(server: Server, places: Places, way: Way, name: str, canary: Canary) -> None:
    """Run one statement; note what is shown of the session afterwards, and what its client is told."""
    values = {"text": canary.text, "key": canary.key, "user": USER, "server": SERVER_ID, "unknown": USER}
    values["value"] = encrypt(canary.text, canary.keyring, context=None)
    values["bound"] = encrypt(canary.text, canary.keyring, context=CONTEXT)
    values["other"] = encrypt(canary.text, Canary().keyring, context=None)
    with psycopg.connect(server.service, autocommit=True) as connection:
        connection.execute("SELECT set_config('app.current_user_id', %s, false)", [USER])
        connection.execute("DELETE FROM public.user_server_configs")
        if name == "cancelled":
            connection.execute("SET statement_timeout = 50")
        failure = None
        try:
            way(connection, (WORKING | FAILING)[name], values)
        except psycopg.Error as error:
            failure = error
            places.add("message", f"{error} {error.diag.message_detail} {error.diag.context}")
            connection.rollback()
        assert bool(failure) == (name in FAILING), failure
        with psycopg.connect(server.url, autocommit=True) as other:
            query = "SELECT query FROM pg_stat_activity WHERE pid = %s"
            places.add("activity", other.execute(query, [connection.info.backend_pid]).fetchall())
        for view in ("pg_prepared_statements", "pg_cursors"):
            places.add("session", connection.execute(f"SELECT statement FROM {view}".encode()).fetchall())


def marks(found: Found, canaries: Mapping[str, Canary]) -> list[str]:
    """Return the cells of a line of the page: of each way, whether what it was given is found."""
    cells: list[str] = []
    for ways in WAYS.values():
        told = set()
        for way in ways:
            names = {key.partition(": ")[2]: key for key in canaries if key.startswith(f"{way.__name__}: ")}
            hit = {name for name, key in names.items() if found.get(key)}
            partly = {key for name, key in names.items() if name in hit and found[key] != given(name)}
            assert not partly, f"not all that was given, or what was not: { {key: found[key] for key in partly} }"
            working, failing = names.keys() & WORKING.keys(), names.keys() & FAILING.keys()
            all_of = {frozenset(): "no", frozenset(names): "always", frozenset(failing): "if it fails"}
            told.add((all_of | {frozenset(working): "if it works"}).get(frozenset(hit), f"some: {sorted(hit)}"))
        assert len(told) == 1, f"{[way.__name__ for way in ways]} differ: {told}"
        cells += told
    return cells


def given(name: str) -> set[str]:
    """Return what of its canary a statement is given: a decrypting one no text, and not all a key."""
    return {what for what in ("key", "text") if f"{{{what}}}" in (WORKING | FAILING)[name]}


# The Python path -----------------------------------------------------------------------------------------

SAVE = (
    "INSERT INTO public.user_server_configs (user_id, server_id, encrypted_config) VALUES ({user}, {server}, {value}) "
    "ON CONFLICT (user_id, server_id) DO UPDATE SET encrypted_config = excluded.encrypted_config "
)
READ = "SELECT encrypted_config FROM public.user_server_configs WHERE server_id = {server}"


def serve(server: Server, places: Places, way: Way, canary: Canary) -> None:
    """Do what a service does with the secret of a user, and all that can go wrong with it."""
    value = encrypt(canary.text, canary.keyring, context=CONTEXT)
    values = {"user": USER, "server": SERVER_ID, "value": value, "unknown": USER}
    with psycopg.connect(server.service, autocommit=True) as connection:
        connection.execute("SELECT set_config('app.current_user_id', %s, false)", [USER])

        def refused(text: str, **others: str) -> None:
            with pytest.raises(psycopg.Error) as caught:
                way(connection, text, values | others)
            places.add("message", told(caught.value))

        way(connection, SAVE, values)
        row = connection.execute(READ.format(server="%s").encode(), [SERVER_ID]).fetchone()
        assert row
        assert decrypt(row[0], canary.keyring, context=CONTEXT) == canary.text
        way(connection, "UPDATE public.user_server_configs SET encrypted_config = {value}", values)
        refused(SAVE.replace("{server}", "{unknown}"))
        refused(SAVE.partition("ON CONFLICT")[0])
        refused(SAVE, value=value[:-1])
        refused(SAVE, value=encrypt(canary.text, canary.keyring, context=CONTEXT.replace("a", "b")))
        connection.execute("SET statement_timeout = 50")
        refused(f"{SAVE} RETURNING pg_sleep(10)")
        with psycopg.connect(server.url, autocommit=True) as other:
            query = "SELECT query FROM pg_stat_activity WHERE pid = %s"
            places.add("activity", other.execute(query, [connection.info.backend_pid]).fetchall())
    for wrong in (value[:-1], value + "A", f"{value[:-8]}AAAAAAAA", "x", encrypt("x", canary.keyring, context=None)):
        undecryptable(places, wrong, canary.keyring, CONTEXT)
    undecryptable(places, value, canary.keyring, None)
    undecryptable(places, value, Canary(canary.enc).keyring, CONTEXT)
    places.add("message", (canary.keyring, canary.keyring.primary))


def undecryptable(places: Places, value: str, keyring: Keyring, context: str | None) -> None:
    """Fail to decrypt; note what a report of the error would tell, the frames' variables included."""
    with pytest.raises(DecryptError) as caught:
        decrypt(value, keyring, context=context)
    places.add("message", told(caught.value))


def told(error: BaseException) -> str:
    """Return what reporters of errors show of one: of each frame below the caller's, its variables."""
    assert error.__traceback__
    below = error.__traceback__.tb_next
    return "".join(TracebackException(type(error), error, below, capture_locals=True).format())


@pytest.mark.parametrize("enc", Enc)
def test_python_path_leaves_nothing(server: Server, caplog: pytest.LogCaptureFixture, enc: Enc) -> None:
    """Where everything is logged, neither key nor text is anywhere, however the envelope is sent and what fails."""
    server.give(OPEN | DEBUG)
    caplog.set_level(logging.DEBUG)
    canaries = {way.__name__: Canary(enc) for way in (parameters, prepared_parameters, literals, do)}
    with watched(server) as places:
        for name, canary in canaries.items():
            serve(server, places, globals()[name], canary)
    gather_files(server, places)
    places.add("Python's log", caplog.text)
    assert {place: found for place, said in places.said.items() if (found := search(said, canaries))} == {}
    envelope = encrypt("", canaries["literals"].keyring, context=CONTEXT).partition(".")[0].encode()
    for place in ("log", "WAL", "tables", "plain dump", "custom dump"):
        assert envelope in places.said[place], f"nothing of the envelope is in {place}: was it searched at all?"


def test_command_leaves_nothing(server: Server, portaldb: Portaldb, tmp_path: Path) -> None:
    """Whatever `portaldb keys` does or refuses, it says no key and no text, and the server learns none."""
    old, new, lost, legacy = (Canary() for _ in range(4))
    files = {name: tmp_path / name for name in ("keys", "more", "broken", "open", "legacy")}
    for name, text in {
        "keys": jwks(old, "old", "primary"),
        "more": jwks(new, "new", "known"),
        "broken": jwks(lost, "lost", "known")[:-1],
        "open": jwks(lost, "lost", "primary"),
        "legacy": legacy.key[:32],
    }.items():
        files[name].write_text(text)
        files[name].chmod(0o644 if name == "open" else 0o600)
    set_ = Keyring.load(files["keys"])
    rows = [encrypt(old.text, set_, context=None), encrypt(old.text, set_, context=CONTEXT), old_format(legacy)]

    def keys(*argv: str, code: int = 0, stdin: str | None = None, **env: str) -> None:
        done = portaldb("keys", *argv, database=server.url, env=env, stdin=stdin)
        assert done.returncode == code, f"keys {argv}: {done.stdout}{done.stderr}"
        places.add("said", done.stdout + done.stderr)

    with watched(server) as places, converting(server, rows):
        here = ("--keys", str(files["keys"]))
        keys("list", *here)
        keys("check", "--open", *here, code=1)  # the old format
        keys("rotate", *here, "--dry-run", code=1)
        keys("add", *here, "--from", str(files["more"]))
        keys("add", *here, "--from", "-", code=4, stdin=jwks(lost, "old", "known"))
        keys("promote", "new", *here)
        keys("retire", "old", *here, code=4)
        keys("rotate", *here, "--legacy-key", str(files["legacy"]), "--bind", "--json")
        keys("check", "--open", *here, "--json")
        keys("retire", "old", *here)
        keys("list", *here, "--json")
        for wrong in (files["broken"], files["open"], files["legacy"], lost.key, jwks(lost, "lost", "primary")):
            keys("list", "--keys", str(wrong), code=4)
        keys("list", code=4, PORTALDB_KEYS=jwks(lost, "lost", "primary")[:-1])
        keys("list", code=4, PORTALDB_KEYS_COMMAND=f"false {lost.key}")
        keys("list", code=4, PORTALDB_KEYS_FILE=lost.key)
    gather_files(server, places)
    canaries = {"old": old, "new": new, "lost": lost, "legacy": legacy}
    assert {place: found for place, said in places.said.items() if (found := search(said, canaries))} == {}


def jwks(canary: Canary, kid: str, state: str) -> str:
    """Return a JWK Set with a canary's key."""
    return json.dumps({"keys": [{"kty": "oct", "k": canary.key, "kid": kid, "state": state}]})


def old_format(canary: Canary) -> str:
    """Encrypt a canary's text as the schema document does, with the first 32 characters of its key."""
    filled = canary.text.encode() + bytes([16]) * 16
    encryptor = Cipher(AES(canary.key[:32].encode()), CBC(bytes(16))).encryptor()
    return base64.b64encode(encryptor.update(filled)).decode()


@contextmanager
def converting(server: Server, values: Sequence[str]) -> Iterator[None]:
    """Put values into rows past trigger and constraint, as a database has them that was not converted yet."""
    table = "public.user_server_configs"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"DELETE FROM {table}".encode())
        check = one(
            server.url, "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'valid_encrypted_config'"
        )
        connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT valid_encrypted_config, DISABLE TRIGGER USER".encode())
        connection.execute(
            "INSERT INTO public.mcp_servers (id, name, image, catalog_type) "
            "SELECT md5('leak ' || n)::uuid, 'leak ' || n, 'x', 'predefined' FROM generate_series(1, 2) AS n"
        )
        servers = [SERVER_ID, *ask(server.url, "SELECT id FROM public.mcp_servers WHERE name LIKE 'leak %%'")]
        for value, server_id in zip([values[1], values[0], values[2]], servers, strict=True):
            text = f"INSERT INTO {table} (user_id, server_id, encrypted_config) VALUES (%s, %s, %s)"
            connection.execute(text.encode(), [USER, server_id, value])
        yield
        connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER".encode())
        connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT valid_encrypted_config {check}".encode())


# The search itself ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["material", "key", "text"])
def test_search_knows_every_form(what: str) -> None:
    """A key or a text is found however it is written down, wherever in a text, and told from another's."""
    canary, other = Canary(), Canary()
    value = getattr(canary, what)
    for before in (b"", b"a", b"ab", b"abc"):
        raw = before + (value if isinstance(value, bytes) else value.encode()) + b" and more"
        for written in (
            raw,
            raw.hex().encode(),
            raw.hex().upper().encode(),
            base64.b64encode(raw),
            base64.urlsafe_b64encode(raw),
            b"".join(base64.encodebytes(raw).split()),
            "".join(f"\\x{byte:02x}" for byte in raw).encode(),
            "".join(f"\\{byte:03o}" for byte in raw).encode(),
            repr(raw).encode(),
        ):
            found = search(written, {"it": canary, "other": other})
            assert found == {"it": {"text" if what == "text" else "key"}}, written


def test_search_finds_what_is_planted(server: Server) -> None:
    """A text in a row is found in table files, WAL and either dump; a key in the log, in whatever form."""
    row = Canary()
    logged = {form: Canary() for form in ("hex", "base64", "escape")}
    server.give({})
    with watched(server) as places, psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("UPDATE public.mcp_servers SET description = %s WHERE id = %s", [row.text, SERVER_ID])
        for form, canary in logged.items():
            written = one(server.url, "SELECT encode(convert_to(%s, 'UTF8'), %s)", canary.key, form)
            connection.execute(sql.SQL("DO $$ BEGIN RAISE LOG {}; END $$").format(written))
    gather_files(server, places)
    for place in ("plain dump", "custom dump", "WAL", "tables"):
        assert search(places.said[place], {"row": row}) == {"row": {"text"}}, place
    assert search(places.said["log"], logged) == {form: {"key"} for form in logged}


# The page ------------------------------------------------------------------------------------------------


def table(name: str) -> list[list[str]]:
    """Return the lines of a table of the page, as their cells; without its head."""
    found = re.search(rf"<!-- {name} -->\n\n(.+?)\n\n", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"docs/encryption.md has no table after <!-- {name} -->"
    head, _rule, *lines = ([cell.strip() for cell in line.strip("|").split("|")] for line in found[1].splitlines())
    assert head[1:] == list(WAYS), head
    return lines


def closing() -> dict[str, str]:
    """Return the settings by which the page closes a login's sessions."""
    return dict(re.findall(r"^ALTER ROLE my_service SET (\S+) = '(\S+)';$", PAGE.read_text(encoding="utf-8"), re.M))


def settings_of(cell: str) -> dict[str, str]:
    """Return the settings that a line of the page is about."""
    base = DEFAULTS if "defaults" in cell else OPEN | closing()
    return base | dict(re.findall(r"`(\S+) = (\S+)`", cell))


PLACES = {
    "the server's log": "log",
    "pg_stat_statements and its file": "statistics",
    "pg_stat_activity, until the next statement": "activity",
    "pg_prepared_statements, pg_cursors": "session",
    "the error that the client gets": "message",
    "a dump, plain": "plain dump",
    "a dump, custom": "custom dump",
    "WAL": "WAL",
    "table files": "tables",
}


def as_of(server: Server, line: list[str]) -> list[str]:
    """Return a line of the page, which is PostgreSQL 15's, as it is on a newer server: see below the tables."""
    newer = one(server.url, "SELECT current_setting('server_version_num')::int") >= 160000
    if newer and ("auto_explain" in line[0] or "debug_print" in line[0]):
        pytest.skip("the page's line is PostgreSQL 15's")
    at = [*WAYS].index("DECLARE") + 1
    kept = "pg_stat_statements" in line[0] or "defaults" in line[0]
    return [*line[:at], "no", *line[at + 1 :]] if newer and kept else line


def test_sql_path_leaves_in_each_place_what_the_page_says(server: Server) -> None:
    """Where everything is logged, key and text are found in just the places of the table."""
    server.give(OPEN)
    with watched(server) as places:
        canaries = run(server, places)
    gather_files(server, places)
    measured = [[told, *marks(search(places.said[place], canaries), canaries)] for told, place in PLACES.items()]
    assert measured == [as_of(server, line) for line in table("leaks by place")]


@pytest.mark.parametrize("line", table("leaks by setting"), ids=lambda line: line[0])
def test_setting_lets_through_what_the_page_says(server: Server, line: list[str]) -> None:
    """With the settings of a line alone open, the log and pg_stat_statements hold what the line says."""
    server.give(settings_of(line[0]))
    with watched(server) as places:
        canaries = run(server, places)
    found = search(places.said["log"] + places.said["statistics"], canaries)
    assert [line[0], *marks(found, canaries)] == as_of(server, line)


def test_activity_is_closed_by_track_activities(server: Server) -> None:
    """A session whose activities are not tracked shows nothing of its last statement."""
    server.give({"track_activities": "off"})
    with watched(server) as places:
        canaries = run(server, places)
    assert not search(places.said["activity"], canaries)


def test_service_closes_its_own_sessions_once_it_may(server: Server) -> None:
    """The page's GRANT lets a service SET what only a superuser may, and then a failing statement leaves nothing."""
    grant = re.search(r"^GRANT SET ON PARAMETER.*?;$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert grant
    canary = Canary()
    server.give(OPEN)
    with psycopg.connect(server.url, autocommit=True) as owner, psycopg.connect(server.service) as service:
        service.autocommit = True
        for name in closing().keys() - {"log_parameter_max_length_on_error"}:  # which anybody may set
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                service.execute(f"SET {name} = {closing()[name]}".encode())
        owner.execute(grant[0].encode())
        try:
            for name, value in closing().items():
                service.execute(f"SET {name} = {value}".encode())
            with watched(server) as places, pytest.raises(psycopg.errors.DataException):
                literals(service, FAILING["other value"], {"key": canary.key, "other": "none"})
            assert not search(places.said["log"] + places.said["statistics"], {"it": canary})
            service.execute("SET log_min_error_statement = error")
            with watched(server) as places, pytest.raises(psycopg.errors.DataException):
                literals(service, FAILING["other value"], {"key": canary.key, "other": "none"})
            assert search(places.said["log"], {"it": canary}) == {"it": {"key"}}
        finally:
            owner.execute(
                grant[0].replace("GRANT SET", "REVOKE SET").replace("TO portal_app", "FROM portal_app").encode()
            )
