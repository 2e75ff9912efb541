"""`portaldb keys`: a key file is changed whole or not at all, and nothing that is printed holds a key."""

import errno
import json
import os
import random
import re
import shlex
import signal
import stat
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from configs import fill, keys, make_keys, material, states, tells_nothing
from conftest import ROOT, Login, MakeDatabase, Pooler, Portaldb, clean_environment
from support import ask, one, paragraph

from portaldb.encryption import Keyring, encrypt, key_file
from portaldb.encryption.keyring import Enc, KeyringError, State, thumbprint

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a key file that is not there yet."""
    return tmp_path / "keys.json"


# generate --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("enc", "size"), [(Enc.CBC, 64), (Enc.GCM, 32)])
def test_generate_makes_a_file_for_its_owner_alone(path: Path, portaldb: Portaldb, enc: Enc, size: int) -> None:
    """One primary key of the right length, named by its thumbprint, mode 0600 whatever the umask."""
    before = os.umask(0)
    try:
        done = keys_before(portaldb, path, "generate", "--enc", str(enc))
    finally:
        os.umask(before)
    (key,) = Keyring.load(path).keys
    assert (len(key.material), key.enc, key.state) == (size, enc, State.PRIMARY)
    assert key.kid == thumbprint(key.material)
    assert key.made_at is not None
    assert abs(key.made_at - time.time()) < 60
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert key.kid in done.stdout
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def keys_before(portaldb: Portaldb, path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Run a command that makes the key file, and look afterwards what it told."""
    done = portaldb("keys", args[0], "--keys", str(path), *args[1:])
    assert done.returncode == 0, done.stderr
    return tells_nothing(done, material(path))


def test_generate_overwrites_nothing(path: Path, portaldb: Portaldb) -> None:
    """A file, and a symlink even where it points at nothing, stay as they are."""
    make_keys(path)
    before = path.read_bytes()
    assert "there already" in paragraph(keys(portaldb, path, "generate"), 4)
    assert path.read_bytes() == before
    link = path.parent / "link"
    link.symlink_to(path.parent / "not there")
    assert "there already" in paragraph(portaldb("keys", "generate", "--keys", str(link)), 4)
    assert link.is_symlink()
    assert not link.exists()
    assert len(list(path.parent.iterdir())) == 2


def test_generate_takes_the_name_from_the_environment(path: Path, portaldb: Portaldb) -> None:
    """PORTALDB_KEYS_FILE says where, and without it and --keys it is asked for."""
    assert portaldb("keys", "generate", env={"PORTALDB_KEYS_FILE": str(path)}).returncode == 0
    assert len(Keyring.load(path).keys) == 1
    assert "--keys FILE" in paragraph(portaldb("keys", "generate"), 4)


def test_generate_says_where_it_cannot_write(tmp_path: Path, portaldb: Portaldb) -> None:
    """A folder that is not there is named."""
    said = paragraph(portaldb("keys", "generate", "--keys", str(tmp_path / "none" / "keys.json")), 4)
    assert "No such file or directory" in said


def test_generate_refuses_a_set_in_place_of_a_name(tmp_path: Path, path: Path, portaldb: Portaldb) -> None:
    """A JWK Set in PORTALDB_KEYS_FILE becomes no file's name, and is not repeated."""
    make_keys(path)
    done = portaldb("keys", "generate", env={"PORTALDB_KEYS_FILE": path.read_text()}, cwd=tmp_path)
    paragraph(tells_nothing(done, material(path)), 4)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["PORTALDB_KEYS", "PORTALDB_KEYS_COMMAND"])
def test_changes_are_refused_where_the_keys_come_from_elsewhere(path: Path, portaldb: Portaldb, name: str) -> None:
    """A variable and a command cannot be written to: the message says how it is done then."""
    (kid,) = make_keys(path)
    value = path.read_text() if name == "PORTALDB_KEYS" else f"cat {path}"
    for args in (["generate"], ["add"], ["promote", kid], ["retire", kid]):
        done = tells_nothing(portaldb("keys", *args, env={name: value}), material(path))
        assert "put what it holds back" in paragraph(done, 4)
    done = portaldb("keys", "list", env={name: value}, database=NOWHERE, check=True)
    assert kid in tells_nothing(done, material(path)).stdout


# add, promote, retire --------------------------------------------------------------------------------------------


def test_keys_go_from_known_to_primary_to_retired(path: Path, portaldb: Portaldb, make_database: MakeDatabase) -> None:
    """The way of a key, named by its beginning; one key writes at all times."""
    (old,) = make_keys(path)
    url = make_database(migrate=True)
    new = keys(portaldb, path, "add", check=True).stdout.split()[0]
    assert states(path) == {old: "primary", new: "known"}
    keys(portaldb, path, "promote", new[:8], check=True)
    assert states(path) == {old: "known", new: "primary"}
    assert "is the primary key" in paragraph(keys(portaldb, path, "retire", new, database=url), 4)
    keys(portaldb, path, "retire", old[:8], database=url, check=True)
    assert states(path) == {old: "retired", new: "primary"}
    assert "--undo" in paragraph(keys(portaldb, path, "promote", old), 4)
    keys(portaldb, path, "retire", "--undo", old, check=True)
    assert states(path) == {old: "known", new: "primary"}
    assert "not retired but known" in paragraph(keys(portaldb, path, "retire", "--undo", old), 4)


def test_a_kid_that_names_no_key_or_two_is_refused(path: Path, portaldb: Portaldb) -> None:
    """An unknown name, an empty one, and a beginning that two kids share; a whole kid wins over a longer one."""
    make_keys(path)
    document = json.loads(path.read_text())
    first = document["keys"][0]
    for kid in ("abc", "abcd"):
        document["keys"].append(first | {"kid": kid, "k": make_key(), "state": "known"})
    path.write_text(json.dumps(document))
    for command in (["promote"], ["retire", "--undo"]):
        said = paragraph(keys(portaldb, path, *command, "zzzz"), 2)
        assert "no key of the set is called so" in said
        assert "portaldb keys list" in said
        # It may be a key's material, pasted by mistake.
        assert "zzzz" not in said
    assert "no key of the set is called" in paragraph(keys(portaldb, path, "promote", ""), 2)
    assert "2 kids begin with ab: abc, abcd" in paragraph(keys(portaldb, path, "promote", "ab"), 2)
    keys(portaldb, path, "promote", "abc", check=True)
    assert states(path)["abc"] == "primary"


def make_key() -> str:
    """Return the material of a key, as a JWK writes it."""
    from portaldb.encryption.key_set import new_key

    return str(new_key(Enc.CBC, State.KNOWN)["k"])


def test_material_in_place_of_a_kid_is_not_repeated(
    path: Path, portaldb: Portaldb, make_database: MakeDatabase
) -> None:
    """What is pasted by mistake, of this set or another, comes out of no command that takes a kid."""
    make_keys(path)
    url, other = make_database(migrate=True), make_key()
    for pasted in (json.loads(path.read_text())["keys"][0]["k"], other):
        for command in (["promote"], ["retire"], ["retire", "--undo"]):
            done = keys(portaldb, path, *command, "--", pasted, database=url)
            paragraph(tells_nothing(done, [other]), 2)


def test_add_takes_over_another_set_as_known(path: Path, portaldb: Portaldb) -> None:
    """From a file or standard input; what is there already is left, and a name or key that collides is refused."""
    (mine,) = make_keys(path)
    other = path.parent / "other.json"
    theirs = make_keys(other, State.PRIMARY, State.RETIRED)
    keys(portaldb, path, "add", "--from", str(other), check=True)
    assert states(path) == {mine: "primary", theirs[0]: "known", theirs[1]: "known"}
    assert "Nothing to do" in keys(portaldb, path, "add", "--from", "-", stdin=other.read_text(), check=True).stdout

    before = path.read_bytes()
    document = json.loads(other.read_text())
    document["keys"][0]["kid"] = mine
    said = tells_nothing(keys(portaldb, path, "add", "--from", "-", stdin=json.dumps(document)), material(other))
    assert f"another key is called {mine}" in paragraph(said, 4)
    document["keys"][0]["kid"] = "alias"
    said = tells_nothing(keys(portaldb, path, "add", "--from", "-", stdin=json.dumps(document)), material(other))
    assert f"{theirs[0]} is the same key" in paragraph(said, 4)
    other.chmod(0o644)
    assert "chmod 600" in paragraph(keys(portaldb, path, "add", "--from", str(other)), 4)
    assert "not a JWK Set" in paragraph(keys(portaldb, path, "add", "--from", "-", stdin=make_key()), 4)
    assert path.read_bytes() == before


def test_retire_refuses_a_key_that_rows_have(path: Path, portaldb: Portaldb, make_database: MakeDatabase) -> None:
    """Rows are counted in the database; where it cannot be asked, or would hide rows, nothing is retired."""
    old, new = make_keys(path, State.PRIMARY, State.KNOWN)
    url = make_database(migrate=True)
    fill(url, 3, Keyring.load(path))
    keys(portaldb, path, "promote", new, check=True)
    assert f"3 rows are encrypted with the key {old}" in paragraph(keys(portaldb, path, "retire", old, database=url), 4)
    assert "Could not connect" in paragraph(keys(portaldb, path, "retire", old, database=NOWHERE), 3)
    empty = make_database(init=False)
    assert "no table" in paragraph(keys(portaldb, path, "retire", old, database=empty), 4)
    assert states(path)[old] == "known"


def test_a_value_that_only_claims_a_key_does_not_keep_it(
    path: Path, portaldb: Portaldb, make_database: MakeDatabase
) -> None:
    """Anybody who may write a row can put any kid into it: what the key does not open is told, and is no reason."""
    old, new = make_keys(path, State.PRIMARY, State.KNOWN)
    url = make_database(migrate=True)
    fill(url, 1, Keyring.load(path))
    value = str(one(url, "SELECT encrypted_config FROM public.user_server_configs"))
    forged = value[: -len(value.rpartition(".")[2])] + "A" * 43
    ask(url, "UPDATE public.user_server_configs SET encrypted_config = %s", forged)
    keys(portaldb, path, "promote", new, check=True)
    done = keys(portaldb, path, "retire", old, database=url, check=True)
    assert "without being opened by it: 1." in " ".join(done.stderr.split())
    assert states(path)[old] == "retired"


def test_retire_is_refused_to_whom_rows_are_hidden(
    path: Path, portaldb: Portaldb, make_database: MakeDatabase, login: Login
) -> None:
    """Row-Level Security shows a service no row without a context: that is not a key without rows."""
    old, new = make_keys(path, State.PRIMARY, State.KNOWN)
    url = make_database(migrate=True)
    fill(url, 1, Keyring.load(path))
    keys(portaldb, path, "promote", new, check=True)
    service = login(url, "portal_app")
    assert one(service, "SELECT count(*) FROM public.user_server_configs") == 0
    said = paragraph(keys(portaldb, path, "retire", old, database=service), 8)
    assert "is kept from some rows by Row-Level Security" in said
    assert "GRANT portal_maintenance TO" in said
    assert states(path)[old] == "known"


# The file --------------------------------------------------------------------------------------------------------


def test_changes_keep_what_is_not_theirs(path: Path, portaldb: Portaldb) -> None:
    """Members of the set and of keys that we do not know, mode, owner, group, and the symlink that leads there."""
    old, new = make_keys(path, State.PRIMARY, State.KNOWN)
    document = json.loads(path.read_text()) | {"note": "größer", "x": [1, {"y": None}]}
    document["keys"][1]["x5t"] = "kept"
    path.write_text(json.dumps(document))
    path.chmod(0o400)
    if os.geteuid() == 0:
        os.chown(path, 0, 1)
        path.chmod(0o440)
    link = path.parent / "link.json"
    link.symlink_to(path.name)
    facts = path.stat()

    keys(portaldb, link, "promote", new, check=True)
    document["keys"][0]["state"], document["keys"][1]["state"] = "known", "primary"
    assert json.loads(path.read_text()) == document
    assert "größer" in path.read_text()
    assert link.is_symlink()
    now = path.stat()
    assert now.st_ino != facts.st_ino
    assert (now.st_mode, now.st_uid, now.st_gid) == (facts.st_mode, facts.st_uid, facts.st_gid)
    assert sorted(each.name for each in path.parent.iterdir()) == ["keys.json", "link.json"]
    assert old in states(path)


def test_a_change_that_changes_nothing_writes_nothing(path: Path, portaldb: Portaldb) -> None:
    """To promote the primary is no change, and the file is the same one."""
    (kid,) = make_keys(path)
    before = path.stat()
    keys(portaldb, path, "promote", kid, check=True)
    assert path.stat().st_ino == before.st_ino


def test_changes_refuse_a_file_that_others_can_read(path: Path, portaldb: Portaldb) -> None:
    """What others may have read, or may write, is not changed but named."""
    make_keys(path)
    path.chmod(0o604)
    assert "chmod 600" in paragraph(portaldb("keys", "add", "--keys", str(path)), 4)
    folder = path.parent / "folder"
    folder.mkdir()
    assert "is not a file" in paragraph(portaldb("keys", "add", env={"PORTALDB_KEYS_FILE": str(folder)}), 4)
    os.mkfifo(path.parent / "pipe", 0o600)
    assert "is not a file" in paragraph(portaldb("keys", "add", "--keys", str(path.parent / "pipe"), timeout=20), 4)
    said = paragraph(portaldb("keys", "add", "--keys", str(path.parent / "none")), 4)
    assert "No such file" in said


def test_a_set_that_utf8_cannot_write_is_not_changed(path: Path, portaldb: Portaldb) -> None:
    """Half of a surrogate pair, which JSON can escape: the file can be read, and a change of it is refused."""
    make_keys(path)
    path.write_text('{"note": "\\ud800", ' + path.read_text()[1:])
    before = path.read_bytes()
    keys(portaldb, path, "list", database=NOWHERE, check=True)
    assert "half of a surrogate pair" in paragraph(keys(portaldb, path, "add"), 4)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_change_removes_its_own_unfinished_files_alone(path: Path) -> None:
    """What is named as mkstemp names it goes, if it is a file of ours; a longer name, a folder, a symlink stay."""
    make_keys(path)
    (path.parent / f".{path.name}.abc_0123.new").touch()
    kept = [f".{path.name}.{middle}.new" for middle in ("backup-2025", "json.abc", "abc_012", "ABC_0123", "abc_01234")]
    kept += [f".{path.name}.abc_0123.newer", f"x.{path.name}.abc_0123.new", ".keysXjson.abc_0123.new"]
    for name in kept:
        (path.parent / name).touch()
    (path.parent / f".{path.name}.a_folder.new").mkdir()
    (path.parent / f".{path.name}.symlink0.new").symlink_to(path)
    kept += [path.name, f".{path.name}.a_folder.new", f".{path.name}.symlink0.new"]
    if os.geteuid() == 0:
        kept.append(f".{path.name}.another0.new")
        (path.parent / kept[-1]).touch()
        os.chown(path.parent / kept[-1], 4242, 4242)
    key_file.change(path, lambda document: document.update(note="changed"))
    assert sorted(each.name for each in path.parent.iterdir()) == sorted(kept)


def test_nothing_is_made_where_the_folder_cannot_be_flushed() -> None:
    """A folder that one may write in and not read: 'Nothing was changed' is true."""
    us = os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if us == 0:
            os.chown(folder, 4242, 4242)
            os.seteuid(4242)
        try:
            folder.chmod(0o300)
            with pytest.raises(KeyringError, match=r"Permission denied\. Nothing was changed"):
                make_keys(folder / "keys.json")
            folder.chmod(0o700)
            assert list(folder.iterdir()) == []
        finally:
            os.seteuid(us)


def test_a_folder_that_is_not_flushed_is_told_with_the_file_in_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk's error after the file is there does not make it 'Nothing was changed'."""
    flush = os.fsync

    def fail(number: int) -> None:
        if stat.S_ISDIR(os.fstat(number).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flush(number)

    monkeypatch.setattr(os, "fsync", fail)
    said = f"{path} was written, but whether the disk has it was not told: Input/output error"
    with pytest.raises(KeyringError, match=re.escape(said)):
        make_keys(path)
    assert len(states(path)) == 1
    with pytest.raises(KeyringError, match=re.escape(said)):
        key_file.change(path, lambda document: document.update(note="there"))
    assert json.loads(path.read_text())["note"] == "there"
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_what_is_no_sound_set_is_not_written(path: Path) -> None:
    """A change that would leave a set nobody could read fails, and the file stays."""
    make_keys(path)
    before = path.read_bytes()
    with pytest.raises(KeyringError):
        key_file.change(path, lambda document: document["keys"].append(document["keys"][0]))
    assert path.read_bytes() == before


ADDING = """
import sys
from pathlib import Path
from portaldb.encryption import key_file, key_set
from portaldb.encryption.keyring import Enc, State
path, times = Path(sys.argv[1]), int(sys.argv[2])
for _ in range(times):
    new = key_set.new_key(Enc.CBC, State.KNOWN)
    key_file.change(path, lambda document: document["keys"].append(new))
    print(new["kid"], flush=True)
"""


def adding(path: Path, times: int) -> subprocess.Popen[str]:
    """Start a process that adds keys one by one and says which it added."""
    argv = [sys.executable, "-c", ADDING, str(path), str(times)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=clean_environment())


def test_changes_at_once_lose_nothing(path: Path) -> None:
    """Six processes add ten keys each; all sixty are there, and the first one."""
    (first,) = make_keys(path)
    processes = [adding(path, 10) for _ in range(6)]
    added = [line for process in processes for line in process.communicate(timeout=60)[0].split()]
    assert len(added) == 60
    assert set(states(path)) == {first, *added}


def test_killed_at_any_moment_the_file_is_whole(path: Path, seed: int) -> None:
    """SIGKILL thirty times during changes: each set is sound and holds every key that was said to be added."""
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    (first,) = make_keys(path)
    added = {first}
    for _ in range(30):
        with adding(path, 100_000) as process:
            assert process.stdout
            added.add(process.stdout.readline().strip())
            time.sleep(chance.uniform(0, 0.02))
            process.send_signal(signal.SIGKILL)
            added |= set(process.stdout.read().split())
        assert added <= set(states(path))
        if len(added) > 300:
            path.unlink()
            (first,) = make_keys(path)
            added = {first}
    key_file.change(path, lambda document: document.update(note="an unfinished file of a killed command goes"))
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_generate_killed_at_any_moment_leaves_a_whole_file_or_none(path: Path, seed: int) -> None:
    """SIGKILL during the making: what is there under the name is a sound set."""
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    code = (
        "import sys, itertools; from pathlib import Path; from portaldb.encryption import key_file, key_set\n"
        "from portaldb.encryption.keyring import Enc, State\n"
        "for n in itertools.count():\n"
        "    key_file.create(Path(sys.argv[1]) / str(n), {'keys': [key_set.new_key(Enc.CBC, State.PRIMARY)]})\n"
        "    print(n, flush=True)\n"
    )
    for _ in range(10):
        folder = path.parent / str(uuid4())
        folder.mkdir()
        argv = [sys.executable, "-c", code, str(folder)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=ROOT, env=clean_environment()) as process:
            assert process.stdout
            process.stdout.readline()
            time.sleep(chance.uniform(0, 0.01))
            process.kill()
        made = [each for each in folder.iterdir() if not each.name.startswith(".")]
        assert made
        for each in made:
            Keyring.load(each)


# list and check --------------------------------------------------------------------------------------------------


def test_list_shows_the_keys_with_and_without_a_database(
    path: Path, portaldb: Portaldb, make_database: MakeDatabase
) -> None:
    """Rows by kid, kids that are not in the set, and what is no envelope; without a database it says so."""
    old, new = make_keys(path, State.PRIMARY, State.RETIRED)
    other = path.parent / "other.json"
    (strange,) = make_keys(other)
    url = make_database(migrate=True)
    fill(url, 2, Keyring.load(path))
    fill(url, 1, Keyring.load(other))
    unguarded(url)
    fill(url, [(None, "plain")])
    found = json.loads(keys(portaldb, path, "list", "--json", database=url, check=True).stdout)["keys"]
    rows = [(each["kid"], each["state"], each["rows"]) for each in found]
    assert rows == [(old, "primary", 2), (new, "retired", 0), (strange, "unknown", 1), (None, "no envelope", 1)]
    told = keys(portaldb, path, "list", database=url, check=True).stdout
    assert [old, "primary", "A256CBC-HS512", "new", "2"] in [line.split() for line in told.splitlines()]

    done = keys(portaldb, path, "list", "--json", database=NOWHERE, check=True)
    assert "Without the rows of each key. Could not connect" in done.stderr
    assert [each["kid"] for each in json.loads(done.stdout)["keys"]] == [old, new]
    assert "rows" not in json.loads(done.stdout)["keys"][0]


def unguarded(url: str) -> None:
    """Take away what keeps anything but envelopes out of the column, as a database has it that was not adopted."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TRIGGER IF EXISTS require_encrypted_config ON public.user_server_configs")
        connection.execute("ALTER TABLE public.user_server_configs DROP CONSTRAINT IF EXISTS valid_encrypted_config")


def test_check_names_the_rows_and_the_reasons(path: Path, portaldb: Portaldb, make_database: MakeDatabase) -> None:
    """Each kind of wrong value by its row's id; a changed one is noticed by opening alone."""
    primary, _, gone = make_keys(path, State.PRIMARY, State.KNOWN, State.RETIRED)
    url = make_database(migrate=True)
    unguarded(url)
    ring = Keyring.load(path)
    good = fill(url, 2, ring)
    assert "2 of 2 values open" in keys(portaldb, path, "check", "--open", database=url, check=True).stdout

    other = path.parent / "other.json"
    make_keys(other)
    elsewhere = encrypt("x", ring, context="user_server_configs.encrypted_config.a.b")
    value = encrypt("x", ring, context=None)
    retired = Keyring((*[key for key in ring.keys if key.kid == gone],))
    assert retired.keys[0].state is State.RETIRED
    (unknown,) = fill(url, 1, Keyring.load(other))
    wrong = {
        str(unknown): "unknown key",
        str(fill(url, [(None, '{"token": "plain"}')])[0]): "not an envelope",
        str(fill(url, [(None, "A" * 43 + "=")])[0]): "the old format",
        str(fill(url, [(None, elsewhere)])[0]): "bound to another row",
        str(fill(url, [(None, under_retired(path, gone))])[0]): "retired key",
    }
    changed = str(fill(url, [(None, value[:-1] + ("A" if value[-1] != "A" else "Q"))])[0])
    done = keys(portaldb, path, "check", "--json", database=url)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert {each["id"]: each["reason"] for each in found["rows"]} == wrong
    assert not found["sound"]
    done = keys(portaldb, path, "check", "--open", "--json", database=url)
    found = json.loads(done.stdout)
    assert {each["id"]: each["reason"] for each in found["rows"]} == wrong | {changed: "cannot be decrypted"}

    done = keys(portaldb, path, "check", database=url)
    assert done.returncode == 1
    assert all(row in done.stdout and reason in done.stdout for row, reason in wrong.items())
    assert not any(str(each) in done.stdout for each in good)
    assert primary in done.stdout


def under_retired(path: Path, kid: str) -> str:
    """Return a value under a key that is retired by now."""
    document = json.loads(path.read_text())
    for entry in document["keys"]:
        entry["state"] = "primary" if entry["kid"] == kid else "known"
    return encrypt("x", Keyring.from_json(json.dumps(document)), context=None)


def test_check_finds_an_unsound_set(path: Path, portaldb: Portaldb) -> None:
    """No primary, one key under two names, a folder that others may write in; a name of its own is only said."""
    (kid,) = make_keys(path)
    assert keys(portaldb, path, "check", "--without-database").returncode == 0
    document = json.loads(path.read_text())
    document["keys"] = [document["keys"][0] | {"state": "known"}, document["keys"][0] | {"state": "known", "kid": "b"}]
    path.write_text(json.dumps(document))
    path.parent.chmod(0o777)
    done = keys(portaldb, path, "check", "--without-database")
    assert done.returncode == 1
    assert "No key is primary" in done.stdout
    assert f"{kid} and b are the same key under two names" in done.stdout
    assert "Others may write in" in done.stdout
    assert "b is a name of its own" in done.stdout
    path.parent.chmod(0o700)
    path.chmod(0o640 if os.geteuid() else 0o644)
    assert "chmod 600" in paragraph(portaldb("keys", "check", "--keys", str(path), "--without-database"), 4)


def test_check_names_each_folder_where_others_can_replace_the_file(tmp_path: Path, portaldb: Portaldb) -> None:
    """At any height, for the group too, and on the way of a symlink; of a sticky one only what is not ours."""
    top, link = tmp_path / "top", tmp_path / "links" / "more" / "link"
    path = top / "a folder" / "keys.json"
    for folder in (path.parent, link.parent):
        folder.mkdir(parents=True)
    make_keys(path)
    second = tmp_path / "second"
    second.mkdir()
    (second / "again").symlink_to("../top/a folder")
    link.symlink_to("../../second/again/keys.json")

    def faults(given: Path) -> list[str]:
        done = keys(portaldb, given, "check", "--without-database", "--json")
        found = json.loads(done.stdout)
        assert done.returncode == (0 if found["sound"] else 1)
        return [str(each) for each in found["faults"]]

    assert faults(path) == faults(link) == []
    for folder in (path.parent, top, second, link.parent, link.parent.parent):
        mine = folder in path.parents
        for mode in (0o770, 0o702, 0o777):
            folder.chmod(mode)
            (fault,) = faults(link)
            assert f"Others may write in {folder} (mode {mode:04o})" in fault
            assert fault.endswith(f"Mend it: chmod go-w {shlex.quote(str(folder))}")
            assert faults(path) == ([fault] if mine else [])
            assert Keyring.load(link).keys, "reading is not stricter"
        folder.chmod(0o1777)
        assert faults(link) == []
        folder.chmod(0o700)
    if os.geteuid() == 0:
        for folder in (path.parent, top, second):
            os.chown(folder, 4242, 4242)
            (fault,) = faults(link)
            assert f"{folder} belongs to user 4242" in fault
            assert fault.endswith(f"Mend it: chown -h 0 {shlex.quote(str(folder))}")
            os.chown(folder, 0, 0)
        link.parent.chmod(0o1777)
        os.chown(link, 4242, 4242, follow_symlinks=False)
        (fault,) = faults(link)
        assert f"{link} belongs to user 4242" in fault


def test_reading_commands_work_behind_a_transaction_pooler(
    path: Path, portaldb: Portaldb, make_database: MakeDatabase, pooler: Pooler
) -> None:
    """Each looks in one transaction, and leaves neither role nor setting to the next client; retiring needs a lock."""
    old, new = make_keys(path, State.PRIMARY, State.KNOWN)
    url = make_database(migrate=True)
    fill(url, 2, Keyring.load(path))
    pooled = pooler(url, "pool_mode = transaction", "default_pool_size = 1")
    found = json.loads(keys(portaldb, path, "list", "--json", database=pooled, check=True).stdout)["keys"]
    assert [each["rows"] for each in found] == [2, 0]
    keys(portaldb, path, "check", "--open", database=pooled, check=True)
    assert "pooler in transaction mode" in paragraph(keys(portaldb, path, "retire", new, database=pooled), 4)
    assert one(pooled, "SELECT current_user") == one(url, "SELECT session_user")
    assert states(path) == {old: "primary", new: "known"}


def test_no_command_line_holds_a_key(path: Path, portaldb: Portaldb) -> None:
    """While a command waits, neither its arguments nor its environment hold a key."""
    make_keys(path)
    secrets = material(path)
    with ThreadPoolExecutor() as pool, path.open() as file:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX)
        waiting = pool.submit(keys, portaldb, path, "add")
        seen = ""
        deadline = time.monotonic() + 20
        while str(path) not in seen and time.monotonic() < deadline:
            argv = ["ps", "axeww", "-o", "args="]
            seen = "\n".join(
                line
                for line in subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
                if str(path) in line
            )
        assert str(path) in seen
        assert not any(secret[:20] in seen for secret in secrets)
        fcntl.flock(file, fcntl.LOCK_UN)
        assert waiting.result(timeout=60).returncode == 0
