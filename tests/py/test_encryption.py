"""What the SQL functions encrypt is a JWE that an independent library opens, and the other way round."""

import base64
import secrets

import psycopg
import pytest
from conftest import MakeDatabase
from joserfc import jwe
from joserfc.jwk import OctKey

ALGORITHMS = ["dir", "A256CBC-HS512"]
TEXTS = ["", "x", "sixteen bytes ok", "Schlüssel 🔑 — 鍵", "y" * 10_000]


@pytest.fixture
def key_text() -> str:
    """Make a key as a JWK's `k` holds it: base64url of 64 random bytes."""
    return base64.urlsafe_b64encode(secrets.token_bytes(64)).rstrip(b"=").decode()


@pytest.fixture
def connection(make_database: MakeDatabase) -> psycopg.Connection:
    """Connect to a migrated database."""
    return psycopg.connect(make_database(migrate=True), autocommit=True)


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: f"{len(text)} characters")
def test_a_jose_library_opens_what_sql_encrypted(connection: psycopg.Connection, key_text: str, text: str) -> None:
    """The library decrypts it with the same key and reads the declared algorithm."""
    row = connection.execute("SELECT encrypt_sensitive_data(%s, %s)", [text, key_text]).fetchone()
    assert row
    token = jwe.decrypt_compact(row[0], OctKey.import_key({"kty": "oct", "k": key_text}), ALGORITHMS)
    assert token.plaintext == text.encode()
    assert token.protected["enc"] == "A256CBC-HS512"


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: f"{len(text)} characters")
def test_sql_opens_what_a_jose_library_encrypted(connection: psycopg.Connection, key_text: str, text: str) -> None:
    """decrypt_sensitive_data reads a compact JWE that the library made."""
    key = OctKey.import_key({"kty": "oct", "k": key_text})
    token = jwe.encrypt_compact({"alg": "dir", "enc": "A256CBC-HS512"}, text.encode(), key, ALGORITHMS)
    assert connection.execute("SELECT decrypt_sensitive_data(%s, %s)", [token, key_text]).fetchone() == (text,)


def test_every_changed_character_is_refused_alike(connection: psycopg.Connection, key_text: str) -> None:
    """Whichever character of an envelope is changed, the one error comes, and it quotes neither key nor text."""
    row = connection.execute("SELECT encrypt_sensitive_data('a secret', %s)", [key_text]).fetchone()
    assert row
    envelope: str = row[0]
    for at, character in enumerate(envelope):
        changed = envelope[:at] + ("A" if character != "A" else "B") + envelope[at + 1 :]
        with pytest.raises(psycopg.errors.DataException) as caught:
            connection.execute("SELECT decrypt_sensitive_data(%s, %s)", [changed, key_text])
        assert caught.value.diag.message_primary == "the value cannot be decrypted"
        assert key_text not in str(caught.value)
