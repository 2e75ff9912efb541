"""Keys: what a JWK Set may say, where it may come from, and that nothing of a key comes out again."""

import copy
import dataclasses
import json
import logging
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from envelopes import held_by, jwk, ring_of
from hypothesis import given
from hypothesis import strategies as st

from portaldb.encryption import Keyring, KeyringError, State, encrypt, sources
from portaldb.encryption.keyring import Enc

CANARY = "c" * 86
"""Base64url of 64 bytes, if its last character were another: to be found nowhere."""
VARIABLES = (sources.FILE, sources.TEXT, sources.COMMAND)


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the keys of the person who runs the tests."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def refusal(call: Callable[[], object]) -> str:
    """Hold a call to refuse with one paragraph, which neither quotes the canary nor keeps it behind it."""
    with pytest.raises(KeyringError) as caught:
        call()
    said = str(caught.value)
    assert "\n" not in said
    assert CANARY not in held_by(caught.value)
    return said


# What a JWK Set may say ----------------------------------------------------------------------------------


def test_keyring_reads_a_set_as_decided() -> None:
    """Kid, state, algorithm and time of each key; members that are not ours are passed over."""
    full: dict[str, Any] = {
        "use": "enc",
        "alg": "dir",
        "enc": "A256CBC-HS512",
        "iat": 1764000000,
        "kid": "2026-11",
        "x": [1],
    }
    ring = ring_of(jwk(**full), jwk(Enc.GCM, state="known", kid="g"), jwk(state="retired", kid="r"))
    said = [(key.kid, key.state, key.enc, key.made_at) for key in ring.keys]
    assert said == [
        ("2026-11", State.PRIMARY, Enc.CBC, 1764000000),
        ("g", State.KNOWN, Enc.GCM, None),
        ("r", State.RETIRED, Enc.CBC, None),
    ]
    assert ring.primary is ring.keys[0]
    assert [ring.opener(kid) for kid in ("2026-11", "g", "r", "other")] == [*ring.keys[:2], None, None]


def test_key_without_a_name_goes_by_its_thumbprint() -> None:
    """RFC 7638, as joserfc makes it; a key that says no state is known."""
    from joserfc.jwk import OctKey

    bare = {"kty": "oct", "k": jwk()["k"]}
    (key,) = ring_of(bare).keys
    assert key.kid == OctKey.import_key(bare).thumbprint()
    assert key.state is State.KNOWN


MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    ("no kty", {"kty": None}, "its 'kty' is not 'oct'"),
    ("another kty", {"kty": "RSA"}, "its 'kty' is not 'oct'"),
    ("for signatures", {"use": "sig"}, "its 'use' is not 'enc'"),
    ("for key wrap", {"alg": "A256KW"}, "its 'alg' is not 'dir'"),
    ("no k", {"k": None}, "its 'k' is neither"),
    ("a k that is a list", {"k": [CANARY]}, "its 'k' is neither"),
    ("a k with padding", {"k": CANARY[:-1] + "A=="}, "its 'k' is not base64url without padding"),
    ("a k of base64", {"k": "+" + CANARY[:-2] + "A"}, "its 'k' is not base64url without padding"),
    ("a k with low bits", {"k": CANARY}, "its 'k' is not base64url without padding"),
    ("a k beyond ASCII", {"k": CANARY + "é"}, "its 'k' is not base64url without padding"),
    ("a short k", {"k": CANARY[:42]}, "its 'k' is not base64url without padding"),
    ("a k of 63 bytes", {"k": CANARY[:84]}, "its 'k' is neither"),
    ("an empty k", {"k": ""}, "its 'k' is neither"),
    ("another enc", {"enc": "A256GCM"}, "its 'enc' is not A256CBC-HS512"),
    ("an enc that is a list", {"enc": [CANARY]}, "its 'enc' is not A256CBC-HS512"),
    ("an empty kid", {"kid": ""}, "its 'kid' is not"),
    ("a long kid", {"kid": CANARY * 2}, "its 'kid' is not"),
    ("a kid with a line", {"kid": f"{CANARY}\n"}, "its 'kid' is not"),
    ("a kid that is a number", {"kid": 7}, "its 'kid' is not"),
    ("a kid that is null", {"kid": None}, "its 'kid' is not"),
    ("another state", {"state": CANARY}, "its 'state' is none of known, primary, retired"),
    ("a state that is a list", {"state": [CANARY]}, "its 'state' is none of"),
    ("a state that is an object", {"state": {"a": CANARY}}, "its 'state' is none of"),
    ("a state that is null", {"state": None}, "its 'state' is none of"),
]


@pytest.mark.parametrize(("members", "said"), [each[1:] for each in MISTAKES], ids=[each[0] for each in MISTAKES])
def test_key_with_a_mistake_is_named_by_its_number(members: dict[str, Any], said: str) -> None:
    """And by what is wrong with it; nothing that stands in it is quoted."""
    told = refusal(lambda: ring_of(jwk(state="known"), jwk() | members))
    assert told.startswith("Key 2 of the JWK Set cannot be used: ") and said in told


@pytest.mark.parametrize("made_at", [True, 1.5, "2026", None, [1]])
def test_key_of_an_odd_time_has_none(made_at: object) -> None:
    """When a key was made decides nothing, so it is not worth refusing one."""
    assert ring_of(jwk(iat=made_at)).primary.made_at is None


SETS: list[tuple[str, str, str]] = [
    ("nothing", "", "not a JSON object"),
    ("no JSON", f"k: {CANARY}", "not a JSON object"),
    ("half of it", f'{{"keys":[{{"k":"{CANARY}', "not a JSON object"),
    ("a JSON string", f'"{CANARY}"', "not a JSON object"),
    ("a list", f'[{{"k":"{CANARY}"}}]', "not a JSON object"),
    ("a key alone", f'{{"kty":"oct","k":"{CANARY}"}}', "no list 'keys'"),
    ("keys that is no list", f'{{"keys":{{"k":"{CANARY}"}}}}', "no list 'keys'"),
    ("no keys", '{"keys":[]}', "no list 'keys'"),
    ("a key that is a string", f'{{"keys":["{CANARY}"]}}', "Key 1 of the JWK Set cannot be used: its 'kty'"),
    ("keys twice", f'{{"keys":["{CANARY}"],"keys":[]}}', "names each member once"),
    ("k twice", f'{{"keys":[{{"kty":"oct","k":"{CANARY}","k":"{CANARY}"}}]}}', "names each member once"),
    ("a BOM", "\ufeff" + json.dumps({"keys": [jwk()]}), "not a JSON object"),
    ("NaN", f'{{"keys":[{{"k":"{CANARY}","x":NaN}}]}}', "not a JSON object"),
    ("too deep", f'{{"keys":"{CANARY}","x":{"[" * 100_000}', "not a JSON object"),
    ("a number without end", f'{{"k":"{CANARY}","x":{"9" * 10_000}}}', "not a JSON object"),
]


@pytest.mark.parametrize(("text", "said"), [each[1:] for each in SETS], ids=[each[0] for each in SETS])
def test_text_that_is_no_set_is_not_quoted(text: str, said: str) -> None:
    """Neither in the message nor in what the JSON parser's error holds: that is the whole text."""
    assert said in refusal(lambda: Keyring.from_json(text))


def test_keys_that_contradict_each_other_are_refused() -> None:
    """Two of one kid, also by their thumbprints, and two that write; it does not depend on how the ring is made."""
    one = jwk(kid="one")
    assert "have the kid one" in refusal(lambda: ring_of(one, jwk(kid="one", state="retired")))
    bare = {"kty": "oct", "k": one["k"]}
    assert "have the kid" in refusal(lambda: ring_of(bare, dict(bare)))
    assert "Two keys of the JWK Set are primary" in refusal(lambda: ring_of(one, jwk()))
    assert "Two keys" in refusal(lambda: Keyring((ring_of(one).primary, ring_of(jwk()).primary)))


def test_keyring_without_a_primary_reads_and_does_not_write() -> None:
    """A reader may have such a one; whoever writes is told what to do."""
    ring = ring_of(jwk(state="known"))
    assert "portaldb keys promote" in refusal(lambda: ring.primary)
    assert "portaldb keys promote" in refusal(lambda: encrypt("x", ring, context=None))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
odd_keys = st.dictionaries(
    st.sampled_from(["kty", "k", "kid", "use", "alg", "enc", "iat", "state"]),
    st.sampled_from(["oct", "enc", "dir", "A256GCM", "known", "primary", "A" * 43, "A" * 86]) | json_values,
)


@given(
    st.text()
    | json_values.map(json.dumps)
    | st.lists(odd_keys | json_values, max_size=3).map(lambda keys: json.dumps({"keys": keys}))
)
def test_reader_of_sets_knows_one_error(text: str) -> None:
    """Whatever the text, there is a keyring or a KeyringError without anything behind it that quotes the text."""
    try:
        Keyring.from_json(text)
    except KeyringError as error:
        behind = error.__context__
        assert behind is None or (type(behind), behind.__context__) == (ValueError, None)
        assert not hasattr(behind, "doc")


# What comes out again ------------------------------------------------------------------------------------


def test_material_is_in_no_text_of_a_key(caplog: pytest.LogCaptureFixture) -> None:
    """Not in repr, str, a format, a log line, an error about it; nor is it pickled or copied."""
    key = jwk()
    ring = ring_of(key)
    logging.getLogger("a service").error("with %s and %r", ring, ring.primary)
    shown = f"{ring} {ring!r} {ring.primary} {ring.primary!r:>500} {[ring]} {caplog.text}"
    try:
        ring.primary.made_at = 5  # type: ignore[misc] # the error is what is looked at
    except AttributeError as error:
        shown += held_by(error)
    material = ring.primary.material
    for secret in (key["k"], material.hex(), repr(material)[2:-1], str(list(material))[1:-1]):
        assert secret not in shown
    assert ring.primary.kid in shown
    for way in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="each process loads the keys itself"):
            way(ring.primary)
    with pytest.raises(TypeError, match="each process loads the keys itself"):
        pickle.dumps(ring)
    for ways in (dataclasses.asdict, dataclasses.astuple):
        for what in (ring, ring.primary, dataclasses.replace(ring.primary, kid="another")):
            with pytest.raises(TypeError, match="each process loads the keys itself"):
                ways(what)


# From where ----------------------------------------------------------------------------------------------


@pytest.fixture
def good() -> str:
    """Make a JWK Set of one key."""
    return json.dumps({"keys": [jwk(kid="good")]})


@pytest.fixture
def file(tmp_path: Path, good: str) -> Path:
    """Write it into a file that its owner alone can read, at a path with a blank and a quote."""
    path = tmp_path / "my key's.json"
    path.write_text(good, encoding="utf-8")
    path.chmod(0o600)
    return path


def test_keys_come_from_where_they_are_said_to_be(file: Path, good: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file given, a file named, a variable, a command; and one given goes before what is named."""
    assert Keyring.load(file).primary.kid == Keyring.load(str(file)).primary.kid == "good"
    monkeypatch.setenv(sources.FILE, str(file))
    assert Keyring.load().primary.kid == "good"
    monkeypatch.delenv(sources.FILE)
    monkeypatch.setenv(sources.COMMAND, f'cat "{file}"')
    assert Keyring.load().primary.kid == "good"
    monkeypatch.delenv(sources.COMMAND)
    monkeypatch.setenv(sources.TEXT, good)
    assert Keyring.load().primary.kid == "good"
    monkeypatch.setenv(sources.TEXT, CANARY)
    assert Keyring.load(file).primary.kid == "good"


def test_keys_given_twice_or_not_at_all_are_refused(file: Path, good: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pair of variables is named; of none, all are, with the command that makes a key. An empty one is none."""
    values = dict(zip(VARIABLES, (str(file), good, f"cat '{CANARY}'"), strict=True))
    for one in VARIABLES:
        for other in VARIABLES:
            if one < other:
                for name in VARIABLES:
                    monkeypatch.setenv(name, values[name] if name in (one, other) else "")
                said = refusal(Keyring.load)
                assert "given more than once" in said and one in said and other in said
    for name in VARIABLES:
        monkeypatch.setenv(name, "")
    said = refusal(Keyring.load)
    assert all(name in said for name in (*VARIABLES, "--keys FILE", "portaldb keys generate"))


def test_file_that_others_can_use_is_refused(file: Path) -> None:
    """Of all 512 modes, those pass that give nobody but the owner a right; of a file of root, the group may read it."""
    root = os.geteuid() == 0
    for mode in range(0o1000):
        file.chmod(mode)
        if mode & 0o007 or mode & (0o030 if root else 0o070):
            if root or mode & 0o400:
                said = refusal(lambda: Keyring.load(file))
                assert f"(mode {mode:04o})" in said and "chmod 600 '" in said and "portaldb keys add" in said
        elif root or mode & 0o400:
            assert Keyring.load(file).primary.kid == "good"
        else:
            assert "cannot be read: Permission denied" in refusal(lambda: Keyring.load(file))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away, and be another user")
def test_file_of_somebody_else_is_refused(good: str) -> None:
    """Root reads no other user's file; another user reads root's if the group lets it, and no third one's."""
    us, another, third = 0, 4242, 4343
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        file = Path(folder, "keys.json")
        file.write_text(good, encoding="utf-8")

        def load(reader: int, owner: int, mode: int) -> str:
            os.chown(file, owner, another)
            file.chmod(mode)
            os.setegid(reader)
            os.seteuid(reader)
            try:
                return Keyring.load(file).primary.kid
            except KeyringError as error:
                return str(error)
            finally:
                os.seteuid(us)
                os.setegid(us)

        assert "belongs to user 4242: only your own or root's is read" in load(us, another, 0o600)
        assert load(another, another, 0o600) == "good"
        assert load(another, us, 0o640) == "good"
        assert "(mode 0660)" in load(another, us, 0o660)
        assert "(mode 0640)" in load(another, another, 0o640)
        assert "belongs to user 4343" in load(another, third, 0o640)
        assert "Permission denied" in load(another, us, 0o600)


def test_file_behind_a_symlink_is_judged_itself(file: Path, tmp_path: Path) -> None:
    """As vaults and orchestrators mount secrets; a link to nothing or in a ring is an error."""
    link = tmp_path / "link"
    link.symlink_to(file)
    assert Keyring.load(link).primary.kid == "good"
    file.chmod(0o604)
    assert "(mode 0604)" in refusal(lambda: Keyring.load(link))
    for target in ("nowhere", "ring"):
        (tmp_path / "ring").unlink(missing_ok=True)
        (tmp_path / "ring").symlink_to(target)
        assert "cannot be read: " in refusal(lambda: Keyring.load(tmp_path / "ring"))


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    """A folder, a pipe that nobody writes to, a device, a socket: without waiting for any of them."""
    import socket

    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        # In a process of its own, which ends if one of them is waited for.
        script = "import sys; from portaldb.encryption import Keyring; Keyring.load(sys.argv[1])"
        for path in (*tmp_path.iterdir(), Path(os.devnull), Path("/dev/zero"), Path("/dev/tty")):
            done = subprocess.run(
                [sys.executable, "-c", script, path], capture_output=True, text=True, check=False, timeout=60
            )
            assert done.stderr.splitlines()[-1].startswith("portaldb.encryption.keyring.KeyringError: The key file"), (
                path
            )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not a JSON object"),
        (CANARY.encode() + b"\xff", "is not UTF-8"),
        (f'{{"keys":["{CANARY}"]}}'.encode("utf-16"), "is not UTF-8"),
        (b"\xef\xbb\xbf" + CANARY.encode(), "not a JSON object"),
        (CANARY.encode() * 20_000, "is larger than 1024 kB"),
        (b"\0" * 100, "not a JSON object"),
    ],
    ids=["empty", "not UTF-8", "UTF-16", "BOM", "huge", "NULs"],
)
def test_file_of_something_else_is_not_quoted(file: Path, content: bytes, said: str) -> None:
    """Nor is it held by what the codec's error holds: that is all bytes of it."""
    file.write_bytes(content)
    assert said in refusal(lambda: Keyring.load(file))


def test_file_of_no_end_takes_no_memory(file: Path) -> None:
    """A hole of a terabyte is read as far as a set may be long."""
    with file.open("r+b") as sparse:
        sparse.truncate(1 << 40)
    assert "is larger than 1024 kB" in refusal(lambda: Keyring.load(file))


def test_key_in_the_wrong_place_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file's name or a command is asked for and the key itself is given, no message has it."""
    for text in (
        CANARY,
        json.dumps({"keys": [{"kty": "oct", "k": CANARY}]}),
        f"{CANARY}\0",
        f"'{CANARY}",
        f"{CANARY}/" * 99,
    ):
        assert "The key file given cannot be read: " in refusal(lambda text=text: Keyring.load(text))  # type: ignore[misc]
        if "\0" not in text:
            monkeypatch.setenv(sources.FILE, text)
            assert "The key file that PORTALDB_KEYS_FILE names cannot be read: " in refusal(Keyring.load)
            monkeypatch.delenv(sources.FILE)
            monkeypatch.setenv(sources.COMMAND, text)
            assert "The command of PORTALDB_KEYS_COMMAND cannot be run: " in refusal(Keyring.load)
            monkeypatch.delenv(sources.COMMAND)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("false", "failed with exit status 1"),
        (f"sh -c 'echo {CANARY}; exit 3'", "failed with exit status 3"),
        (f"sh -c 'echo {CANARY}; kill -9 $$'", "failed with exit status -9"),
        (f"echo {CANARY}", "not a JSON object"),
        (f"printf '{CANARY}\\377'", "is not UTF-8"),
        ("true", "not a JSON object"),
        (f"/nowhere/{CANARY}", "cannot be run: No such file or directory"),
        ("/etc", "cannot be run: Permission denied"),
        ("   ", "cannot be run: it has no word"),
        (f"echo '{CANARY}", "a quotation that does not end"),
        (f"yes {CANARY}", "is larger than 1024 kB"),
        ("echo $HOME; echo `id`", "not a JSON object"),
    ],
)
def test_command_that_gives_no_keys_is_not_quoted(command: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its words nor what it printed; and one that prints without end is stopped."""
    monkeypatch.setenv(sources.COMMAND, command)
    assert said in refusal(Keyring.load)


@pytest.mark.parametrize(
    "command",
    [
        "sleep 30",
        "sh -c 'exec >&-; sleep 30'",
        "sh -c 'sleep 30 & echo {}'",
        "sh -c 'while :; do echo; sleep 0.1; done'",
    ],
    ids=["hangs", "closes its output and hangs", "leaves a child that holds the output", "prints and prints"],
)
def test_command_that_does_not_end_is_stopped(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After thirty seconds, here one, it is dead, and the message says so."""
    monkeypatch.setattr(sources, "_SECONDS", 1.0)
    monkeypatch.setenv(sources.COMMAND, command)
    began = time.monotonic()
    assert "was stopped: it took longer than 1 seconds" in refusal(Keyring.load)
    assert time.monotonic() - began < 15


def test_command_is_run_without_a_shell(tmp_path: Path, good: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words are told apart by quotes; nothing is expanded; it gets no input to wait for."""
    show = tmp_path / "show"
    show.write_text(f"#!/bin/sh\ncat\nprintf '%s\\n' \"$@\" >&2\ncat <<'END'\n{good}\nEND\n", encoding="utf-8")
    show.chmod(0o700)
    monkeypatch.setenv(sources.COMMAND, f"'{show}' 'a b' $HOME \"*\" ; `id`")
    done = subprocess.run(
        [sys.executable, "-c", "from portaldb.encryption import Keyring; print(Keyring.load().primary.kid)"],
        input="not for the command", capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr.splitlines()) == ("good\n", ["a b", "$HOME", "*", ";", "`id`"])
