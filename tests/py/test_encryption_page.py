"""What docs/encryption.md shows is so: its example opens, its bytes are as told, its code runs, its commands exist."""

import base64
import hashlib
import hmac
import json
import re
import secrets
import subprocess
from datetime import timedelta
from pathlib import Path

import libraries
import psycopg
import pytest
from conftest import ROOT, Login, MakeDatabase, Portaldb
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from joserfc import jwe
from joserfc.jwk import OctKey
from support import ask, one
from test_baseline import build

from portaldb.encryption import Keyring, config_context, decrypt, encrypt
from portaldb.encryption.config_rows import Fault
from portaldb.encryption.keyring import State

PAGE = (ROOT / "docs/encryption.md").read_text(encoding="utf-8")

USER, SERVER = "a0000000-0000-0000-0000-000000000001", "0b000000-0000-0000-0000-000000000001"
SETUP = f"""
INSERT INTO public.users (id, azure_oid, email) VALUES ('{USER}', 'alpha', 'alpha@example.org');
INSERT INTO public.mcp_servers (id, name, image, catalog_type) VALUES ('{SERVER}', 'a', 'a', 'predefined');
"""


def example(name: str) -> str:
    """Return the code block of the page that stands after a mark."""
    found = re.search(rf"<!-- example: {name} -->\n```\w*\n(.+?)\n```", PAGE, re.DOTALL)
    assert found, f"docs/encryption.md has no example {name}"
    return found[1]


def unpadded(text: str) -> bytes:
    """Decode base64url by Python's own means."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# The envelope --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shown() -> dict[str, str]:
    """Return key, text and value of the page's envelope."""
    return dict(line.split(maxsplit=1) for line in example("envelope").splitlines())


def keyring_of(key: str, state: str = "known") -> Keyring:
    """Make a keyring of one key."""
    return Keyring.from_json(json.dumps({"keys": [{"kty": "oct", "k": key, "state": state}]}))


def test_envelope_shown_opens(shown: dict[str, str], make_database: MakeDatabase) -> None:
    """Python, SQL and another library open the page's value; it is bound to the user and the server that it names."""
    ids = re.search(r"A value of user `(.+?)` and server `(.+?)`", PAGE)
    assert ids
    context = config_context(ids[1], ids[2])
    assert decrypt(shown["value"], keyring_of(shown["key"]), context=context) == shown["text"]
    key = OctKey.import_key({"kty": "oct", "k": shown["key"]})
    assert jwe.decrypt_compact(shown["value"], key, ["dir", "A256CBC-HS512"]).plaintext == shown["text"].encode()
    query = "SELECT decrypt_sensitive_data(%s, %s, sensitive_data_context(%s, %s, %s::uuid, %s::uuid))"
    place = ("user_server_configs", "encrypted_config", ids[1], ids[2])
    assert one(make_database(migrate=True), query, shown["value"], shown["key"], *place) == shown["text"]


def test_envelope_shown_is_of_the_bytes_told(shown: dict[str, str]) -> None:
    """Each part has the length and the bytes of the page's table, and is made as the page says."""
    rows = re.findall(r"^\| [1-5] \| (\d+) \| [^`|]*(?:`([^`]+)`)?", PAGE, re.MULTILINE)
    parts = [unpadded(part) for part in shown["value"].split(".")]
    assert [len(part) for part in parts] == [int(length) for length, _ in rows]
    header, _, iv, ciphertext, tag = parts
    assert header.decode() == rows[0][1]
    assert [part.hex() for part in (iv, ciphertext, tag)] == [written for _, written in rows[2:]]

    mac_key, aes_key = unpadded(shown["key"])[:32], unpadded(shown["key"])[32:]
    aad = shown["value"].partition(".")[0].encode()
    bits = re.search(r"`(0{8}[0-9a-f]{8})` \(([\d,]+)\)", PAGE)
    assert bits
    assert f"({len(aad)} bytes)" in PAGE
    assert int(bits[1], 16) == int(bits[2].replace(",", "")) == len(aad) * 8
    assert hmac.digest(mac_key, aad + iv + ciphertext + bytes.fromhex(bits[1]), hashlib.sha512)[:32] == tag
    text = shown["text"].encode()
    encryptor = Cipher(AES(aes_key), CBC(iv)).encryptor()
    assert f"({len(text)} and 5 times `05`)" in PAGE
    assert encryptor.update(text + b"\x05" * 5) == ciphertext


# The paths -----------------------------------------------------------------------------------------------


@pytest.fixture
def url(make_database: MakeDatabase) -> str:
    """Make a database with a user and a server."""
    made = make_database(migrate=True)
    ask(made, SETUP)
    return made


@pytest.fixture
def key_file(tmp_path: Path, portaldb: Portaldb, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a key file and name it in the environment, as the page says."""
    path = tmp_path / "keys.json"
    portaldb("keys", "generate", "--keys", str(path), check=True)
    monkeypatch.setenv("PORTALDB_KEYS_FILE", str(path))
    return path


def test_python_example_runs(url: str, key_file: Path, login: Login) -> None:
    """As a service: it loads the keys, stores an envelope and opens it again."""
    with psycopg.connect(login(url, "portal_app")) as connection:
        names = {"connection": connection, "user_id": USER, "server_id": SERVER}
        exec(example("python"), names)  # noqa: S102 - the page's own code
    assert names["text"] == '{"token": "not a real one"}'
    assert one(url, "SELECT encrypted_config FROM user_server_configs") == names["value"]


def test_node_example_runs(key_file: Path) -> None:
    """Node seals what Python opens, opens what Python sealed, and refuses another row's."""
    libraries._require_node()
    context, other = config_context(USER, SERVER), config_context(SERVER, USER)
    keyring = Keyring.load()
    call = """
        (async () => {
            const [jwks, context, other, value] = JSON.parse(process.argv[1]);
            const said = { value: await seal("from Node", jwks.keys[0], context) };
            said.text = await open(value, jwks, context);
            said.refused = await open(value, jwks, other).catch((error) => error.message);
            jwks.keys[0].state = "retired";
            said.retired = await open(value, jwks, context).catch((error) => error.message);
            console.log(JSON.stringify(said));
        })();
    """
    given = json.dumps([json.loads(key_file.read_text()), context, other, encrypt("x", keyring, context=context)])
    done = libraries._run_node("-e", example("node") + call, given)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert decrypt(said["value"], keyring, context=context) == "from Node"
    assert said == {"value": said["value"], "text": "x"} | dict.fromkeys(
        ("refused", "retired"), "the value cannot be decrypted"
    )


def test_sql_example_runs(url: str, login: Login) -> None:
    """As a service: with the key as a parameter, the row's own value is stored and opened again."""
    key = base64.urlsafe_b64encode(secrets.token_bytes(64)).decode().rstrip("=")
    store, open_ = example("sql").split("\n\n")
    with psycopg.connect(login(url, "portal_app"), cursor_factory=psycopg.RawCursor) as connection:
        connection.execute("SELECT set_config('app.current_user_id', $1, true)", [USER])
        connection.execute(store.encode(), [USER, SERVER, "a secret", key])
        assert connection.execute(open_.encode(), [key, SERVER]).fetchone() == ("a secret",)


@pytest.mark.parametrize(
    ("key", "material"),
    [
        ("AAEC" * 21 + "AA", unpadded("AAEC" * 21 + "AA")),
        ("x" * 16, None),
        ("Schlüssel-Text!", None),  # 15 characters, 16 bytes
    ],
)
def test_key_texts_are_taken_as_told(make_database: MakeDatabase, key: str, material: bytes | None) -> None:
    """What is not 64 bytes in base64url goes through HKDF-SHA-512 with the info that the page gives."""
    info = re.search(r"no salt, info `(.+?)`", PAGE)
    assert info
    derived = hmac.digest(hmac.digest(bytes(64), key.encode(), "sha512"), info[1].encode() + b"\x01", "sha512")
    assert one(make_database(migrate=True), "SELECT sensitive_data_key(%s)", key) == (material or derived)


# The runbook ---------------------------------------------------------------------------------------------


def commands(heading: str) -> list[list[str]]:
    """Return the portaldb commands of a section of the page, in their order."""
    section = PAGE.partition(f"\n### {heading}\n")[2].partition("\n##")[0]
    return [line.split()[1:] for line in re.findall(r"^ {7}(portaldb .+)$", section, re.MULTILINE)]


def test_every_command_of_the_page_exists(portaldb: Portaldb) -> None:
    """Each has the subcommand and the options that the page gives it."""
    helps: dict[tuple[str, ...], str] = {}
    found = re.findall(r"`portaldb ([^`]+)`", PAGE) + re.findall(r"^ *portaldb (.+)$", PAGE, re.MULTILINE)
    assert found
    for line in found:
        words = line.split()
        name = tuple(words[: 2 if words[0] == "keys" else 1])
        if name not in helps:
            helps[name] = portaldb(*name, "--help", check=True).stdout
        for option in (word for word in words if word.startswith("--")):
            assert option in helps[name], f"portaldb {line}: no {option}"


def test_a_new_key_step_by_step(url: str, key_file: Path, portaldb: Portaldb) -> None:
    """The page's steps, typed one after the other, bring every value under a new key and retire the old one."""
    old = Keyring.load()
    context = config_context(USER, SERVER)
    row = "INSERT INTO user_server_configs (user_id, server_id, encrypted_config) VALUES (%s, %s, %s)"
    ask(url, row, USER, SERVER, encrypt("a secret", old, context=context))
    first = {"add": "", "promote": "", "retire": old.primary.kid}
    steps = commands("A new key, step by step")
    assert [step[1] for step in steps] == ["add", "promote", "rotate", "rotate", "check", "list", "retire"]
    for step in steps:
        first["promote"] = (
            next(key.kid for key in Keyring.load().keys if key.kid != old.primary.kid) if first["add"] else ""
        )
        first["add"] = "done"
        portaldb(*(first[step[1]] if word == "KID" else word for word in step), database=url, check=True)
    ring = Keyring.load()
    assert [key.state for key in ring.keys] == [State.RETIRED, State.PRIMARY]
    assert decrypt(one(url, "SELECT encrypted_config FROM user_server_configs"), ring, context=context) == "a secret"


def test_what_a_leaked_key_wrote_is_found_after_the_rotation(
    url: str, key_file: Path, tmp_path: Path, portaldb: Portaldb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's lines for psql, saved before and read after, tell the row that the rotation moved."""
    old = Keyring.load().primary.kid
    value = encrypt("a secret", Keyring.load(), context=config_context(USER, SERVER))
    ask(
        url,
        "INSERT INTO user_server_configs (user_id, server_id, encrypted_config) VALUES (%s, %s, %s)",
        USER,
        SERVER,
        value,
    )
    state = "SELECT id, user_id, updated_at FROM user_server_configs"
    (before,) = ask(url, state)
    section = PAGE.partition("\n### A key leaked\n")[2].partition("\n###")[0]
    save, *read = re.findall(r"^ {7}(\S.+)$", section, re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    run_psql(url, save)
    portaldb("keys", "add", check=True)
    kid = next(key.kid for key in Keyring.load().keys if key.kid != old)
    portaldb("keys", "promote", kid, check=True)
    portaldb("keys", "rotate", database=url, check=True)
    assert ask(url, state) != [before]
    for since, found in (before[2], str(before[0])), (before[2] + timedelta(seconds=1), ""):
        lines = "\n".join(read).replace("'KID'", f"'{old}'").replace("'TIME'", f"'{since}'")
        assert run_psql(url, lines).partition("|")[0] == found


def run_psql(url: str, lines: str) -> str:
    """Type lines into psql, and return what it prints of rows."""
    argv = ["psql", "--no-psqlrc", "--quiet", "-At", "-v", "ON_ERROR_STOP=1", "-d", url]
    return subprocess.run(argv, input=lines, capture_output=True, text=True, check=True).stdout.strip()


def test_every_reason_is_explained() -> None:
    """The page has a line for each reason that rotate and check give."""
    section = PAGE.partition("\n### When rows fail\n")[2].partition("\n###")[0]
    assert set(re.findall(r"^\| `(.+?)` \|", section, re.MULTILINE)) == {str(fault) for fault in Fault}


def test_old_format_is_converted_as_the_page_says(
    make_database: MakeDatabase, server: str, key_file: Path, tmp_path: Path, portaldb: Portaldb
) -> None:
    """A database built by hand, with old values: by the page's commands and baseline it is ours, and all opens."""
    url = build(make_database, server, "postgres")
    old = "UPDATE user_server_configs SET encrypted_config = encrypt_sensitive_data('a secret', '0123456789abcdef')"
    ask(url, old)
    count = one(url, "SELECT count(*) FROM user_server_configs")
    assert count
    old_key = tmp_path / "OLD_KEY_FILE"
    old_key.write_text("0123456789abcdef\n")
    old_key.chmod(0o600)
    dry, convert, check, migrate = commands("From the specification's old format")
    for step in (dry, convert, check):
        argv = (str(old_key) if word == "OLD_KEY_FILE" else word for word in step)
        portaldb(*argv, database=url, check=True)
    portaldb("init", database=url, check=True)
    script = str(tmp_path / "reconcile.sql")
    assert portaldb("baseline", "--output", script, database=url).returncode == 1
    portaldb("baseline", "--apply", script, database=url, check=True)
    portaldb(*migrate, database=url, check=True)
    ring = Keyring.load()
    found = ask(url, "SELECT user_id, server_id, encrypted_config FROM user_server_configs")
    assert [decrypt(value, ring, context=config_context(*ids)) for *ids, value in found] == ["a secret"] * count
    assert one(url, "SELECT convalidated FROM pg_constraint WHERE conname = 'valid_encrypted_config'")


def test_every_claim_names_a_test_that_is_there() -> None:
    """The files in the table of claims exist."""
    section = PAGE.partition("\n## What is claimed")[2]
    named = re.findall(r"`(\w+\.(?:py|sql))`", section)
    assert named
    missing = [name for name in named if not any((ROOT / "tests" / folder / name).exists() for folder in ("py", "sql"))]
    assert not missing
