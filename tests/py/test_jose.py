"""What Python and SQL encrypt is a JWE that independent libraries open, and the other way round; and the two agree."""

import pytest
from envelopes import WHERES, chance_of, jwk, random_text, ring_of
from libraries import LIBRARIES, Library

from portaldb.encryption import decrypt, encrypt, inspect
from portaldb.encryption.keyring import Enc

COUNT = 1000
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
