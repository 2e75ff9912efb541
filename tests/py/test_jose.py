"""What Python and SQL encrypt is a JWE that independent libraries open, and the other way round; and the two agree."""

import random
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from conftest import MakeDatabase
from envelopes import CONTEXT, WHERES, Sealer, chance_of, jwk, random_text, ring_of, spoiled
from libraries import LIBRARIES, Library

from portaldb.encryption import DecryptError, base64url, decrypt, encrypt, inspect
from portaldb.encryption.keyring import Enc

COUNT = 600
"""Values each way, of each library, algorithm and binding."""

libraries = pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
encs = pytest.mark.parametrize("enc", list(Enc))
wheres = pytest.mark.parametrize("where", WHERES, ids=["unbound", "bound"])


@pytest.fixture(scope="module")
def texts(request: pytest.FixtureRequest) -> list[str]:
    """Draw texts: of each length to 40, which is all paddings, and to 4,000 characters; of all of Unicode."""
    chance = chance_of(request.config.getoption("--seed"))
    return ["x" * length for length in range(40)] + [random_text(chance, 4000) for _ in range(COUNT - 40)]


def header_of(enc: Enc, kid: str, where: str | None) -> dict[str, str]:
    """Return the header that a service of another language writes."""
    return {"alg": "dir", "enc": str(enc), "kid": kid, "cty": f"text/plain;ctx={where or 'none'}"}


@libraries
@encs
@wheres
def test_library_opens_what_python_encrypted(library: Library, enc: Enc, where: str | None, texts: list[str]) -> None:
    """And reads the header that was meant."""
    key = jwk(enc)
    ring = ring_of(key)
    texts = [text for text in texts if text or library.opens_empty]
    found = library.open(key["k"], [encrypt(text, ring, context=where) for text in texts])
    assert found == [(header_of(enc, ring.primary.kid, where), text) for text in texts]


@libraries
@encs
@wheres
def test_python_opens_what_a_library_encrypted(library: Library, enc: Enc, where: str | None, texts: list[str]) -> None:
    """With key, header and text that were meant."""
    key = jwk(enc, kid="from.elsewhere")
    ring = ring_of(key)
    values = library.seal(key["k"], header_of(enc, key["kid"], where), texts)
    assert [decrypt(value, ring, context=where) for value in values] == texts
    assert {(inspect(value).kid, inspect(value).context) for value in values} == {(key["kid"], where)}


# SQL -----------------------------------------------------------------------------------------------------


@pytest.fixture
def connection(make_database: MakeDatabase) -> Iterator[psycopg.Connection]:
    """Connect to a migrated database."""
    with psycopg.connect(make_database(migrate=True), autocommit=True) as connection:
        yield connection


def sql(connection: psycopg.Connection, function: str, values: list[str], *arguments: str) -> list[Any]:
    """Call a function of one text for each of many, in their order, with further arguments."""
    call = f"{function}(u.value{', %s' * len(arguments)})"
    query = f"SELECT {call} FROM unnest(%s::text[]) WITH ORDINALITY AS u (value, place) ORDER BY place"
    return [row[0] for row in connection.execute(query.encode(), [*arguments, values])]


def arguments_of(k: str, where: str | None, kid: str) -> list[str]:
    """Return what follows the text in SQL's functions: two arguments make an unbound value, four a bound one."""
    return [k, where, kid] if where else [k]


@pytest.fixture
def key() -> dict[str, Any]:
    """Make a key that goes by its thumbprint, which SQL's two-argument function puts into the header."""
    return jwk()


@libraries
@wheres
def test_library_opens_what_sql_encrypted(
    connection: psycopg.Connection, library: Library, where: str | None, texts: list[str], key: dict[str, Any]
) -> None:
    """And reads the header that was meant."""
    kid = ring_of(key).primary.kid
    texts = [text for text in texts if text or library.opens_empty]
    values = sql(connection, "encrypt_sensitive_data", texts, *arguments_of(key["k"], where, kid))
    assert library.open(key["k"], values) == [(header_of(Enc.CBC, kid, where), text) for text in texts]


@libraries
@wheres
def test_sql_opens_what_a_library_encrypted(
    connection: psycopg.Connection, library: Library, where: str | None, texts: list[str], key: dict[str, Any]
) -> None:
    """Under the header that a service of another language writes; unbound also without cty."""
    kid = ring_of(key).primary.kid
    values = library.seal(key["k"], header_of(Enc.CBC, kid, where), texts)
    assert sql(connection, "decrypt_sensitive_data", values, *arguments_of(key["k"], where, kid)) == texts
    bare = library.seal(key["k"], {"alg": "dir", "enc": "A256CBC-HS512", "kid": "any"}, texts[:100])
    assert sql(connection, "decrypt_sensitive_data", bare, key["k"]) == texts[:100]


@wheres
def test_python_opens_what_sql_encrypted(
    connection: psycopg.Connection, where: str | None, texts: list[str], key: dict[str, Any]
) -> None:
    """With two, three and four arguments."""
    ring = ring_of(key)
    forms = [[key["k"], where], [key["k"], where, ring.primary.kid]] if where else [[key["k"]]]
    for arguments in forms:
        values = sql(connection, "encrypt_sensitive_data", texts, *filter(None, arguments))
        assert [decrypt(value, ring, context=where) for value in values] == texts


@wheres
def test_sql_opens_what_python_encrypted(
    connection: psycopg.Connection, where: str | None, texts: list[str], key: dict[str, Any]
) -> None:
    """With two, three and four arguments."""
    ring = ring_of(key)
    values = [encrypt(text, ring, context=where) for text in texts]
    forms = [[key["k"], where], [key["k"], where, ring.primary.kid]] if where else [[key["k"]]]
    for arguments in forms:
        assert sql(connection, "decrypt_sensitive_data", values, *filter(None, arguments)) == texts


def test_sql_and_python_name_a_place_alike(connection: psycopg.Connection) -> None:
    """The context of a row is the same text on both sides."""
    where = "'user_server_configs', 'encrypted_config', %s, %s"
    user, server = CONTEXT.split(".")[2:]
    row = connection.execute(f"SELECT sensitive_data_context({where})".encode(), [user.upper(), server]).fetchone()
    assert row == (CONTEXT,)


@wheres
def test_sql_refuses_every_flipped_bit_alike(
    connection: psycopg.Connection, where: str | None, key: dict[str, Any]
) -> None:
    """Every bit, every character left out, cut off at every length: one error, which quotes nothing."""
    connection.execute(
        b"""
        CREATE FUNCTION pg_temp.refusal(value text, key text, context text) RETURNS text LANGUAGE plpgsql AS $$
        BEGIN
            IF context IS NULL THEN
                RETURN 'it opened: ' || public.decrypt_sensitive_data(value, key);
            END IF;
            RETURN 'it opened: ' || public.decrypt_sensitive_data(value, key, context);
        EXCEPTION
            WHEN OTHERS THEN
                RETURN SQLSTATE || ' ' || SQLERRM;
        END;
        $$
        """
    )
    value = encrypt("a secret", ring_of(key), context=where)
    raw = value.encode()
    changed = [raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :] for at in range(len(raw)) for bit in range(8)]
    wrong = [text.decode("latin-1") for text in changed if 0 not in text]
    wrong += [value[:at] + value[at + 1 :] for at in range(len(value))] + [value[:at] for at in range(len(value))]
    query = b"SELECT DISTINCT pg_temp.refusal(u.value, %s, %s) FROM unnest(%s::text[]) AS u (value)"
    said = connection.execute(query, [key["k"], where, wrong]).fetchall()
    assert said == [("22000 the value cannot be decrypted",)]
    assert connection.execute(query, [key["k"], where, [value]]).fetchall() == [("it opened: a secret",)]


def test_sql_and_python_agree_on_what_is_well_formed(connection: psycopg.Connection, seed: int) -> None:
    """Headers with one thing wrong, and 8,000 values mutated in a place or two: the same verdict, the same kid."""
    chance = chance_of(seed)
    values = []
    for sealer in [Sealer(ring_of(jwk(enc))) for enc in Enc]:
        headers = spoiled(sealer)
        values += [sealer.seal(header) for header in headers.values()]
        for where in WHERES:
            good = encrypt("a secret", sealer.ring, context=where)
            values += [good, *(good[:at] for at in range(len(good)))]
            values += [mutated(good, chance) for _ in range(1000)]
            header = base64url.decode(good.partition(".")[0]).decode()
            values += [sealer.seal(mutated(header, chance)) for _ in range(1000)]
    verdicts = [(kid is not None, kid) for kid in map(kid_of, values)]
    formed = sql(connection, "sensitive_data_well_formed", values)
    kids = sql(connection, "sensitive_data_kid", values)
    differing = [
        each for each in zip(values, verdicts, zip(formed, kids, strict=True), strict=True) if each[1] != each[2]
    ]
    assert differing == []
    assert sum(formed) > 100 and formed.count(False) > 5000


def kid_of(value: str) -> str | None:
    """Return the kid of a well-formed value, as SQL's function does."""
    try:
        return inspect(value).kid
    except DecryptError:
        return None


def mutated(text: str, chance: random.Random) -> str:
    """Replace, insert or leave out a character or two."""
    for _ in range(chance.choice((1, 1, 2))):
        at = chance.randrange(len(text))
        put = chance.choice([*'",.=-_Agwx \né', text[at - 1], ""])
        text = text[:at] + put + text[at + chance.choice((0, 1)) :]
    return text


def test_no_iv_comes_twice_in_sql(connection: psycopg.Connection, key: dict[str, Any]) -> None:
    """100,000 encryptions of one text with one key in one statement."""
    row = connection.execute(
        "SELECT count(DISTINCT split_part(encrypt_sensitive_data('x', %s), '.', 3)) FROM generate_series(1, 100000)",
        [key["k"]],
    ).fetchone()
    assert row == (100_000,)
