"""`portaldb keys rotate`: every value comes under the primary key, while people write and processes die."""

import json
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from configs import CANARY, fill, keys, make_keys, material, states, tells_nothing
from conftest import Login, MakeDatabase, Pooler, Portaldb
from psycopg.rows import dict_row
from support import ask, command, finish, kill, one, paragraph, until, waits_for_lock
from test_baseline import build
from test_drift import execute
from test_keys import unguarded

from portaldb.encryption import Keyring, config_context, config_rows, decrypt, encrypt, inspect, legacy, rotation
from portaldb.encryption.keyring import Enc, State
from portaldb.errors import RightsError

ALL = "SELECT id, user_id, server_id, encrypted_config FROM public.user_server_configs"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Make a key file with an old key that is primary, and a new one that is known."""
    path = tmp_path / "keys.json"
    make_keys(path, State.PRIMARY, State.KNOWN)
    return path


@pytest.fixture
def url(make_database: MakeDatabase) -> str:
    """Make a database with every migration applied."""
    return make_database(migrate=True)


def promote(path: Path) -> str:
    """Make the known key of a file the primary, without a process of its own; return its kid."""
    from portaldb.encryption import key_file, key_set

    kid = next(kid for kid, state in states(path).items() if state == "known")
    key_file.change(path, lambda document: key_set.promote(document, kid))
    return kid


def say(line: str, *, passing: bool = False) -> None:
    """Say nothing."""


def rotate(url: str, ring: Keyring, **options: Any) -> rotation.Rotation:  # noqa: ANN401 - of Options
    """Rotate in this process."""
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        return rotation.rotate(connection, lambda: ring, rotation.Options(**options), say)


def rows(url: str) -> dict[UUID, config_rows.Row]:
    """Return every row that has a value."""
    return {row[0]: config_rows.Row(*row) for row in ask(url, f"{ALL} WHERE encrypted_config IS NOT NULL")}


def texts(url: str, ring: Keyring) -> dict[UUID, str]:
    """Open every value, bound to its row or unbound."""
    return {
        each.id: decrypt(each.encrypted_config, ring, context=each.context, allow_unbound=True)
        for each in rows(url).values()
    }


# What it does ----------------------------------------------------------------------------------------------------


def test_rotate_brings_every_value_under_the_primary(path: Path, url: str, portaldb: Portaldb) -> None:
    """Texts and bindings stay; values under the primary, empty ones and other columns are not touched."""
    old = Keyring.load(path)
    bound = fill(url, 7, old)
    unbound = fill(url, [(None, f"{CANARY}unbound {n}") for n in range(5)], old)
    empty = fill(url, [("bound", ""), (None, "")], old)
    kid = promote(path)
    ring = Keyring.load(path)
    fresh = fill(url, 3, ring)
    ask(url, "UPDATE public.user_server_configs SET encrypted_config = NULL WHERE id = %s", bound.pop())
    before, opened = rows(url), texts(url, ring)

    done = keys(portaldb, path, "rotate", "--batch", "3", database=url, check=True)
    assert "13 rows re-encrypted" in done.stdout
    assert f"portaldb keys retire {old.primary.kid}" in " ".join(done.stdout.split())
    after = rows(url)
    assert texts(url, ring) == opened
    assert {inspect(row.encrypted_config).kid for row in after.values()} == {kid}
    for each in (*bound, empty[0]):
        assert inspect(after[each].encrypted_config).context == after[each].context
    for each in (*unbound, empty[1]):
        assert inspect(after[each].encrypted_config).context is None
    assert {each: after[each] for each in fresh} == {each: before[each] for each in fresh}

    again = keys(portaldb, path, "rotate", "--json", database=url, check=True)
    assert json.loads(again.stdout)["rotated"] == 0
    assert rows(url) == after


@pytest.mark.parametrize("enc", [Enc.CBC, Enc.GCM])
def test_rotate_between_algorithms(tmp_path: Path, url: str, enc: Enc) -> None:
    """From A256CBC-HS512 to A256GCM and the other way."""
    path, other = tmp_path / "a.json", tmp_path / "b.json"
    make_keys(path, enc=enc)
    make_keys(other, enc=Enc.GCM if enc is Enc.CBC else Enc.CBC)
    fill(url, 3, Keyring.load(path))
    document = json.loads(path.read_text())
    document["keys"][0]["state"] = "known"
    document["keys"] += json.loads(other.read_text())["keys"]
    ring = Keyring.from_json(json.dumps(document))
    assert rotate(url, ring).rotated == 3
    assert {inspect(row.encrypted_config).enc for row in rows(url).values()} == {ring.primary.enc}
    assert sorted(texts(url, ring).values()) == [f"{CANARY}{n}" for n in range(3)]


def test_rotate_bind_binds_what_was_unbound(path: Path, url: str, portaldb: Portaldb) -> None:
    """Under the old key and under the primary alike, and only once."""
    fill(url, [(None, f"{CANARY}old")], Keyring.load(path))
    promote(path)
    ring = Keyring.load(path)
    fill(url, [(None, f"{CANARY}new")], ring)
    found = json.loads(keys(portaldb, path, "rotate", "--bind", "--json", database=url, check=True).stdout)
    assert found["rotated"] == 2
    assert all(inspect(row.encrypted_config).context == row.context for row in rows(url).values())
    assert sorted(texts(url, ring).values()) == [f"{CANARY}new", f"{CANARY}old"]
    assert rotate(url, ring, bind=True).rotated == 0


def test_rotate_knows_the_primary_in_a_header_of_another_order(path: Path, url: str) -> None:
    """A value that another library wrote under the primary is right as it is, and never opened."""
    from joserfc import jwe
    from joserfc.jwk import OctKey

    promote(path)
    ring = Keyring.load(path)
    header = {"cty": "text/plain;ctx=none", "kid": ring.primary.kid, "enc": "A256CBC-HS512", "alg": "dir"}
    key = OctKey.import_key(ring.primary.material)
    value = jwe.encrypt_compact(header, CANARY, key, algorithms=["dir", "A256CBC-HS512"])
    (row,) = fill(url, [(None, value)])
    found = rotate(url, ring)
    assert (found.rotated, found.failed) == (0, ())
    assert rows(url)[row].encrypted_config == value
    assert rotate(url, ring, bind=True).rotated == 1
    assert texts(url, ring) == {row: CANARY}


def test_rotate_opens_each_value_once(path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted: one decryption a row, none of a row under the primary, and none when it is run again."""
    fill(url, 23, Keyring.load(path))
    promote(path)
    ring = Keyring.load(path)
    fill(url, 4, ring)
    opened: Counter[str] = Counter()

    def counting(value: str, keyring: Keyring, *, context: str | None) -> str:
        opened[value] += 1
        return decrypt(value, keyring, context=context)

    monkeypatch.setattr(rotation, "decrypt", counting)
    stale = {
        row.encrypted_config for row in rows(url).values() if inspect(row.encrypted_config).kid != ring.primary.kid
    }
    # Asked to stop after two batches, and then run again.
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        asked = iter([False, False])
        first = rotation.rotate(
            connection, lambda: ring, rotation.Options(batch=5), say, stopped=lambda: next(asked, True)
        )
    assert (first.rotated, first.finished) == (10, False)
    assert rotate(url, ring, batch=5).rotated == 13
    assert rotate(url, ring, batch=5).rotated == 0
    assert opened == dict.fromkeys(stale, 1)


def test_dry_run_opens_everything_and_changes_nothing(path: Path, url: str, portaldb: Portaldb) -> None:
    """It tells what would be re-encrypted and what would fail, and takes no row lock."""
    fill(url, 4, Keyring.load(path))
    promote(path)
    ring = Keyring.load(path)
    value = encrypt("x", Keyring.load(path), context=None)
    unguarded(url)
    (plain,) = fill(url, [(None, "plain")])
    before = rows(url)
    with psycopg.connect(url) as holder:
        holder.execute("SELECT FROM public.user_server_configs FOR UPDATE")
        done = keys(portaldb, path, "rotate", "--dry-run", database=url)
    assert done.returncode == 1
    assert "4 rows would be re-encrypted" in done.stdout
    assert str(plain) in done.stdout
    assert "not an envelope" in done.stdout
    assert rows(url) == before
    assert value
    assert rotate(url, ring, dry_run=True).rotated == 4


# What fails ------------------------------------------------------------------------------------------------------


def test_rows_that_fail_are_named_and_left_as_they_were(path: Path, url: str, portaldb: Portaldb) -> None:
    """Each reason by its row's id; the others are re-encrypted, in the same batch too; the exit code is 1."""
    old = Keyring.load(path)
    unguarded(url)
    other = path.parent / "other.json"
    make_keys(other)
    retired = path.parent / "retired.json"
    make_keys(retired)
    good = fill(url, 3, old)
    value = encrypt("x", old, context=None)
    wrong = {
        fill(url, 1, Keyring.load(other))[0]: "unknown key",
        fill(url, 1, Keyring.load(retired))[0]: "retired key",
        fill(url, [(None, encrypt("x", old, context=config_context(uuid4(), uuid4())))])[0]: "bound to another row",
        fill(url, [(None, value[:-1] + ("A" if value[-1] != "A" else "Q"))])[0]: "cannot be decrypted",
        fill(url, [(None, '{"plain": "text"}')])[0]: "not an envelope",
        fill(url, [(None, "AAAAAAAAAAAAAAAAAAAAAA==")])[0]: "the old format",
    }
    (refused,) = fill(url, [("bound", f"{CANARY}refused")], old)
    execute(
        url,
        "ALTER TABLE public.user_server_configs ADD CONSTRAINT odd CHECK "
        f"(id <> '{refused}' OR encrypted_config = 'x') NOT VALID",
    )
    wrong[refused] = "refused by the database (23514 odd)"
    keys(portaldb, path, "add", "--from", str(retired), check=True)
    document = json.loads(path.read_text())
    document["keys"][2]["state"] = "retired"
    path.write_text(json.dumps(document))
    before, kid = rows(url), promote(path)

    done = keys(portaldb, path, "rotate", "--json", database=url)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert {UUID(each["id"]): each["reason"] for each in found["failed"]} == wrong
    assert (found["rotated"], found["primary"]) == (3, kid)
    after = rows(url)
    assert {each: after[each] for each in wrong} == {each: before[each] for each in wrong}
    assert {inspect(after[each].encrypted_config).kid for each in good} == {kid}

    done = keys(portaldb, path, "rotate", database=url)
    assert done.returncode == 1
    assert all(str(each) in done.stdout and reason in done.stdout for each, reason in wrong.items())
    assert "left as they were" in done.stderr


def test_a_row_that_is_locked_is_come_back_to(path: Path, url: str, portaldb: Portaldb) -> None:
    """Nobody is waited for in a batch; the row that another session holds comes last, and with what that wrote."""
    ids = fill(url, 20, Keyring.load(path))
    promote(path)
    ring = Keyring.load(path)
    held = rows(url)[ids[3]]
    with psycopg.connect(url) as holder:
        newer = encrypt("newer", Keyring((ring.keys[0].__class__(**as_primary(ring.keys[0])),)), context=held.context)
        holder.execute("UPDATE public.user_server_configs SET encrypted_config = %s WHERE id = %s", [newer, held.id])
        with command("keys", "rotate", "--keys", str(path), "--batch", "5", database=url) as process:
            until(lambda: len(stale(url, ring)) == 1, "all but one row to be done")
            holder.commit()
            done = finish(process)
    assert done.returncode == 0, done.stderr
    assert "20 rows re-encrypted" in done.stdout
    assert texts(url, ring)[held.id] == "newer"
    assert not stale(url, ring)


def as_primary(key: Any) -> dict[str, Any]:  # noqa: ANN401 - a Key
    """Return the fields of a key, as the primary."""
    return {"kid": key.kid, "state": State.PRIMARY, "enc": key.enc, "material": key.material}


def stale(url: str, ring: Keyring) -> list[UUID]:
    """Return the rows that are not under the primary."""
    return [row.id for row in rows(url).values() if inspect(row.encrypted_config).kid != ring.primary.kid]


def test_a_row_that_stays_locked_is_named(path: Path, url: str) -> None:
    """It is not waited for without end."""
    ids = fill(url, 3, Keyring.load(path))
    promote(path)
    with psycopg.connect(url) as holder:
        holder.execute("SELECT FROM public.user_server_configs WHERE id = %s FOR UPDATE", [ids[1]])
        found = rotate(url, Keyring.load(path), patience=0.5)
    assert [(each.id, each.reason) for each in found.failed] == [(ids[1], "locked by another session all the time")]
    assert found.rotated == 2


def test_a_row_behind_the_rotation_is_come_back_to(path: Path, url: str) -> None:
    """A row that is written under the old key where the rotation was already is found before the end."""
    old = Keyring.load(path)
    fill(url, 20, old)
    promote(path)
    ring = Keyring.load(path)
    first = min(rows(url))
    held = rows(url)[first]
    late = encrypt("late", old, context=held.context)

    def meanwhile(progress: rotation.Progress) -> None:
        if progress.done == 10:
            ask(url, "UPDATE public.user_server_configs SET encrypted_config = %s WHERE id = %s", late, first)

    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        found = rotation.rotate(connection, lambda: ring, rotation.Options(batch=5), say, watch=meanwhile)
    assert (found.rotated, found.failed) == (21, ())
    assert texts(url, ring)[first] == "late"
    assert not stale(url, ring)


def test_a_locked_table_is_tried_again(path: Path, url: str) -> None:
    """A lock on the whole table lets nobody queue behind us for longer than two seconds, and ends nothing."""
    fill(url, 3, Keyring.load(path))
    promote(path)
    said: list[str] = []
    with (
        psycopg.connect(url) as holder,
        psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection,
    ):
        holder.execute("LOCK TABLE public.user_server_configs IN ACCESS EXCLUSIVE MODE")
        release = threading.Timer(3, holder.commit)
        release.start()
        found = rotation.rotate(
            connection, lambda: Keyring.load(path), rotation.Options(), lambda line, **_: said.append(line)
        )
        release.join()
    assert any(line.startswith("retrying: canceling statement due to lock timeout") for line in said)
    assert (found.rotated, found.failed) == (3, ())


def test_bind_leaves_a_value_that_two_rows_have(path: Path, url: str, portaldb: Portaldb) -> None:
    """Whoever copied another's unbound value into their row does not get it bound to it, under the primary or not."""
    ring = Keyring.load(path)
    mine, theirs = fill(url, [(None, "another's secret"), (None, "x")], ring)
    alone = fill(url, [(None, "alone")], ring)[0]
    ask(
        url,
        "UPDATE public.user_server_configs SET encrypted_config = (SELECT c.encrypted_config "
        "FROM public.user_server_configs AS c WHERE c.id = %s) WHERE id = %s",
        mine,
        theirs,
    )
    before = rows(url)
    for _ in range(2):
        done = keys(portaldb, path, "rotate", "--bind", "--json", database=url)
        assert done.returncode == 1, done.stderr
        failed = {UUID(each["id"]): each["reason"] for each in json.loads(done.stdout)["failed"]}
        assert failed == {mine: config_rows.Fault.SHARED, theirs: config_rows.Fault.SHARED}
        after = rows(url)
        assert (after[mine], after[theirs]) == (before[mine], before[theirs])
        assert inspect(after[alone].encrypted_config).context == after[alone].context
        promote(path)


def test_an_odd_error_of_one_row_stops_no_other(path: Path, url: str) -> None:
    """Whatever a trigger of yours raises, the row is listed, and the others are done; what all meet is said once."""
    fill(url, 7, Keyring.load(path))
    promote(path)
    ring = Keyring.load(path)
    odd = list(rows(url))[3]
    execute(
        url,
        "CREATE FUNCTION public.odd() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF OLD.id = TG_ARGV[0]::uuid OR "
        "TG_ARGV[0] = '00000000-0000-0000-0000-000000000000' THEN RAISE insufficient_privilege; END IF; RETURN NEW; "
        f"END$$; CREATE TRIGGER odd BEFORE UPDATE ON public.user_server_configs FOR EACH ROW EXECUTE FUNCTION public.odd('{odd}')",  # noqa: E501 - SQL
    )
    found = rotate(url, ring)
    assert found.rotated == 6
    assert [(each.id, each.reason) for each in found.failed] == [(odd, "refused by the database (42501)")]
    execute(
        url,
        "DROP TRIGGER odd ON public.user_server_configs; "
        "CREATE TRIGGER odd BEFORE UPDATE ON public.user_server_configs FOR EACH ROW "
        "EXECUTE FUNCTION public.odd('00000000-0000-0000-0000-000000000000')",
    )
    with pytest.raises(RightsError):
        rotate(url, ring)


def test_large_values_are_sent_in_parts(path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By letters as well as by rows: a message of the protocol ends at 1 GB."""
    fill(url, 9, Keyring.load(path))
    promote(path)
    sent: list[int] = []
    monkeypatch.setattr(rotation, "_PART_LETTERS", 1000)
    send = rotation._Run._send

    def seen(run: rotation._Run, new: list[rotation._New]) -> psycopg.Cursor[dict[str, Any]]:
        sent.append(len(new))
        return send(run, new)

    monkeypatch.setattr(rotation._Run, "_send", seen)
    assert rotate(url, Keyring.load(path)).rotated == 9
    assert len(sent) > 1
    assert sum(sent) == 9


# Who may, and one at a time --------------------------------------------------------------------------------------


def test_rotate_works_as_portal_maintenance(path: Path, url: str, portaldb: Portaldb, login: Login) -> None:
    """A member of it needs nothing else, and it writes as that role."""
    fill(url, 3, Keyring.load(path))
    promote(path)
    execute(
        url,
        "CREATE TABLE public.seen (who text); GRANT INSERT ON public.seen TO PUBLIC; "
        "CREATE FUNCTION public.see() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN INSERT INTO public.seen VALUES (current_user); RETURN NEW; END$$; "
        "GRANT EXECUTE ON FUNCTION public.see() TO PUBLIC; "
        "CREATE TRIGGER see BEFORE UPDATE ON public.user_server_configs FOR EACH ROW EXECUTE FUNCTION public.see()",
    )
    member = login(url, "portal_maintenance")
    keys(portaldb, path, "rotate", database=member, check=True)
    assert set(ask(url, "SELECT who FROM public.seen")) == {"portal_maintenance"}
    keys(portaldb, path, "check", "--open", database=member, check=True)


def test_the_monitor_sees_what_a_rotation_has_still_to_do(path: Path, url: str, login: Login) -> None:
    """Its view counts the values by kid, with the monitor's own rights too."""
    old = Keyring.load(path)
    fill(url, 2, old)
    kid = promote(path)
    fill(url, 1, Keyring.load(path))
    monitor = login(url, "portal_monitor")
    found = dict(ask(monitor, "SELECT kid, count FROM public.monitor_encryption_keys"))
    assert found == {old.primary.kid: 2, kid: 1}


def test_dry_run_tells_a_reader_that_the_rotation_is_refused(
    path: Path, url: str, portaldb: Portaldb, login: Login
) -> None:
    """Who sees every row and may not write is told so by both; `check --open` is for them."""
    fill(url, 1, Keyring.load(path))
    promote(path)
    reader = login(url, "portal_monitor", "BYPASSRLS IN ROLE pg_read_all_data")
    keys(portaldb, path, "check", "--open", database=reader, check=True)
    for options in (["--dry-run"], []):
        done = keys(portaldb, path, "rotate", *options, database=reader)
        assert "may not update encrypted_config" in paragraph(done, 8)
        assert not done.stdout


@pytest.mark.parametrize("role", ["portal_app", "portal_runner", "portal_monitor"])
def test_rotate_says_which_rights_are_missing(
    path: Path, url: str, portaldb: Portaldb, login: Login, role: str
) -> None:
    """A service, the runner and the monitor are refused before anything is read."""
    fill(url, 1, Keyring.load(path))
    promote(path)
    before = rows(url)
    said = paragraph(keys(portaldb, path, "rotate", database=login(url, role)), 8)
    assert "as portal_maintenance it is not a member" in said
    assert "GRANT portal_maintenance TO login_" in said
    assert rows(url) == before


def test_one_rotation_at_a_time(path: Path, url: str, portaldb: Portaldb) -> None:
    """The second says who is at work, and changes nothing."""
    fill(url, 2, Keyring.load(path))
    promote(path)
    before = rows(url)
    with psycopg.connect(url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [rotation.LOCK_KEY])
        said = paragraph(keys(portaldb, path, "rotate", database=url), 4)
    assert "Another rotation, or another 'keys retire', is at work on this database (process" in said
    assert rows(url) == before


def test_rotate_reads_the_keys_once_it_is_alone(path: Path, url: str) -> None:
    """A key that is promoted while it waits for another rotation, or for a retirement, is the one it writes with."""
    fill(url, 2, Keyring.load(path))
    with psycopg.connect(url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [rotation.LOCK_KEY])
        with command("keys", "rotate", "--keys", str(path), database=url) as process:
            until(
                lambda: one(
                    url, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'portaldb keys rotate'"
                ),
                "the rotation to wait",
            )
            kid = promote(path)
            holder.execute("SELECT pg_advisory_unlock(%s)", [rotation.LOCK_KEY])
            assert finish(process).returncode == 0
    assert {inspect(row.encrypted_config).kid for row in rows(url).values()} == {kid}


def test_a_key_is_not_retired_while_a_rotation_is_at_work(path: Path, url: str, portaldb: Portaldb) -> None:
    """The rotation may be writing under it, with the set as it was."""
    old = Keyring.load(path).primary.kid
    promote(path)
    with psycopg.connect(url, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [rotation.LOCK_KEY])
        said = paragraph(keys(portaldb, path, "retire", old, database=url), 4)
    assert "Another rotation, or another 'keys retire', is at work on this database (process" in said
    assert states(path)[old] == "known"
    keys(portaldb, path, "retire", old, database=url, check=True)


def test_rotate_needs_a_primary_key(path: Path, url: str, portaldb: Portaldb) -> None:
    """Without one there is nothing to encrypt with."""
    document = json.loads(path.read_text())
    document["keys"][0]["state"] = "known"
    path.write_text(json.dumps(document))
    assert "No key of the JWK Set is primary" in paragraph(keys(portaldb, path, "rotate", database=url), 4)


def test_rotate_refuses_a_transaction_pooler(path: Path, url: str, portaldb: Portaldb, pooler: Pooler) -> None:
    """There its lock would be another client's. A session pool will do."""
    fill(url, 2, Keyring.load(path))
    promote(path)
    pooled = pooler(url, "pool_mode = transaction")
    assert "pooler in transaction mode" in paragraph(keys(portaldb, path, "rotate", database=pooled), 4)


def test_rotate_works_through_a_session_pool(path: Path, url: str, portaldb: Portaldb, pooler: Pooler) -> None:
    """And leaves neither a lock nor a role behind."""
    fill(url, 2, Keyring.load(path))
    promote(path)
    pooled = pooler(url, "pool_mode = session", "server_reset_query =")
    keys(portaldb, path, "rotate", database=pooled, check=True)
    assert one(pooled, "SELECT current_user || ' ' || current_setting('lock_timeout')") == "postgres 0"
    assert one(url, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


# Interrupted -----------------------------------------------------------------------------------------------------


def test_interrupted_it_ends_after_the_batch(path: Path, url: str, portaldb: Portaldb) -> None:
    """Ctrl-C: a sentence, the summary, exit 130; what was done is right, and the same command goes on."""
    fill(url, 60, Keyring.load(path))
    promote(path)
    ring = Keyring.load(path)
    with command("keys", "rotate", "--keys", str(path), "--batch", "1", "--pause", "0.05", database=url) as process:
        until(lambda: len(stale(url, ring)) < 55, "some rows to be done")
        process.send_signal(signal.SIGINT)
        done = tells_nothing(finish(process), material(path))
    assert "Stopping after this batch" in done.stderr
    assert "the same command goes on from there" in paragraph(done, 130)
    left = len(stale(url, ring))
    assert 0 < left < 55
    assert f"{60 - left} rows re-encrypted" in done.stdout
    assert f"{left} rows re-encrypted" in keys(portaldb, path, "rotate", database=url, check=True).stdout


def test_killed_its_lock_goes_with_it(path: Path, url: str, portaldb: Portaldb) -> None:
    """SIGKILL while it waits for the server: run again at once, it goes on."""
    fill(url, 5, Keyring.load(path))
    promote(path)
    with psycopg.connect(url) as holder:
        holder.execute("LOCK TABLE public.user_server_configs IN ACCESS EXCLUSIVE MODE")
        with command("keys", "rotate", "--keys", str(path), database=url) as process:
            until(waits_for_lock(url, "portaldb keys rotate"), "it to wait")
            kill(process)
    assert "5 rows re-encrypted" in keys(portaldb, path, "rotate", database=url, check=True).stdout


# The old format --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        "",
        "k",
        "0123456789abcdef",
        "0123456789abcdef0",
        "k" * 24,
        "k" * 25,
        "k" * 32,
        "k" * 40,
        "schlüssel",
        "\\x00ff10",
        "\\x",
        "\\xAb cD",
        "a\\\\b",
        "a\\000b\\377",
    ],
)
def test_the_old_format_opens_as_pgcrypto_made_it(url: str, key: str) -> None:
    """Keys that are padded, cut, written in hexadecimal or with backslashes; texts of every length to three blocks."""
    made = "SELECT encode(public.encrypt(convert_to(%s, 'UTF8'), %s::bytea, 'aes'), 'base64')"
    with psycopg.connect(url, autocommit=True) as connection:
        for text in ("", "ü", *("x" * size for size in (1, 15, 16, 17, 47, 200)), '{"a": "\\\\ \\n"}'):
            found = connection.execute(made, [text, key]).fetchone()
            assert found
            assert legacy.looks_old(found[0])
            assert legacy.decrypt(found[0], legacy.aes_key(key)) == text


@pytest.mark.parametrize("key", ["\\", "a\\b", "\\x0", "\\xzz", "\\400", "a\\08b"])
def test_an_old_key_that_is_no_bytea_is_refused(url: str, key: str, tmp_path: Path, portaldb: Portaldb) -> None:
    """PostgreSQL refuses the cast, and so do we, without repeating the key."""
    with pytest.raises(psycopg.errors.DataError), psycopg.connect(url) as connection:
        connection.execute("SELECT %s::bytea", [key])
    with pytest.raises(ValueError, match=r"hexadecimal|backslash"):
        legacy.aes_key(key)
    path, old = tmp_path / "keys.json", tmp_path / "old key"
    make_keys(path)
    old.write_text(key + "\n")
    old.chmod(0o600)
    assert "bytea" in paragraph(keys(portaldb, path, "rotate", "--legacy-key", str(old), database=url), 4)


def by_hand(make: MakeDatabase, server: str) -> str:
    """Make a database as the schema document says, with values that its own function encrypted."""
    url = build(make, server)
    value = """encrypt_sensitive_data('{"token": "t"}', '0123456789abcdef')"""
    execute(url, f"UPDATE public.user_server_configs SET encrypted_config = {value}")
    return url


def test_the_old_format_is_converted_in_a_database_built_by_hand(
    tmp_path: Path, make_database: MakeDatabase, server: str, portaldb: Portaldb
) -> None:
    """As the schema document makes it: no function, role or trigger of ours is there yet; then it is adopted."""
    url = by_hand(make_database, server)
    path, old, wrong = tmp_path / "keys.json", tmp_path / "old", tmp_path / "wrong"
    make_keys(path)
    for file, key in ((old, "0123456789abcdef"), (wrong, "another key")):
        file.write_text(key + "\n")
        file.chmod(0o600)
    assert not one(url, "SELECT count(*) FROM pg_proc WHERE proname = 'sensitive_data_kid'")
    before = rows(url)
    assert before

    done = keys(portaldb, path, "rotate", database=url)
    assert done.returncode == 1
    assert done.stdout.count("the old format") == len(before)
    done = keys(portaldb, path, "rotate", "--legacy-key", str(wrong), "--json", database=url)
    assert {each["reason"] for each in json.loads(done.stdout)["failed"]} == {"cannot be decrypted"}
    assert rows(url) == before
    found = keys(portaldb, path, "rotate", "--legacy-key", str(old), "--dry-run", database=url, check=True)
    assert f"{len(before)} rows would be re-encrypted" in found.stdout
    assert rows(url) == before
    old.chmod(0o644)
    assert "chmod 600" in paragraph(keys(portaldb, path, "rotate", "--legacy-key", str(old), database=url), 4)
    old.chmod(0o600)

    keys(portaldb, path, "rotate", "--legacy-key", str(old), database=url, check=True)
    ring = Keyring.load(path)
    assert set(texts(url, ring).values()) == {'{"token": "t"}'}
    assert {inspect(row.encrypted_config).context for row in rows(url).values()} == {None}
    keys(portaldb, path, "check", "--open", database=url, check=True)


def test_what_was_converted_by_hand_can_be_adopted(
    tmp_path: Path, make_database: MakeDatabase, server: str, portaldb: Portaldb
) -> None:
    """Then SQL opens it, bound to its row."""
    url = by_hand(make_database, server)
    path = tmp_path / "keys.json"
    make_keys(path)
    ring = Keyring.load(path)
    count = rotate(url, ring, legacy_key=legacy.aes_key("0123456789abcdef")).rotated
    assert count
    portaldb("init", database=url, check=True)
    script = str(tmp_path / "reconcile.sql")
    portaldb("baseline", "--output", script, database=url)
    portaldb("baseline", "--apply", script, database=url, check=True)
    assert rotate(url, ring, bind=True).rotated == count
    (key,) = json.loads(path.read_text())["keys"]
    row = next(iter(rows(url).values()))
    opened = one(url, "SELECT public.decrypt_sensitive_data(%s, %s, %s)", row.encrypted_config, key["k"], row.context)
    assert opened == '{"token": "t"}'


def test_rotate_by_hand_is_refused_to_whom_rows_are_hidden(
    tmp_path: Path, make_database: MakeDatabase, server: str, portaldb: Portaldb, login: Login
) -> None:
    """The schema document grants services everything; its policies hide rows from them without a word."""
    url = build(make_database, server)
    path = tmp_path / "keys.json"
    make_keys(path)
    assert "Row-Level Security" in paragraph(keys(portaldb, path, "rotate", database=login(url, "portal_app")), 8)


# Sixteen writers -------------------------------------------------------------------------------------------------


class Writers:
    """Sixteen clients at work: fourteen services, each for a user of its own, and two runners.

    Each knows what it was last acknowledged, and looks before each write whether its row still says so.
    """

    def __init__(self, url: str, ring: Keyring, servers: list[UUID], seed: int) -> None:
        self.url, self.ring, self.servers = url, ring, servers
        self.users = [uuid4() for _ in range(14)]
        self.acknowledged: dict[tuple[UUID, UUID], str] = {}
        self.containers: dict[UUID, str] = {}
        self.errors: list[BaseException] = []
        self.writes: Counter[str] = Counter()
        self.stopped = threading.Event()
        execute(
            url,
            "".join(
                f"INSERT INTO public.users (id, azure_oid, email) VALUES ('{user}', '{user}', '{user}@example.org');"
                for user in self.users
            ),
        )
        self.threads = [
            threading.Thread(target=self.guarded, args=(self.serve, seed + n, user))
            for n, user in enumerate(self.users)
        ] + [threading.Thread(target=self.guarded, args=(self.run, seed - 1 - n, n)) for n in range(2)]

    def __enter__(self) -> "Writers":
        """Fill the table, and let everyone begin."""
        with psycopg.connect(self.url) as connection:
            for user in self.users:
                for place in self.servers[::2]:
                    self.insert(connection, user, place, f"{CANARY}first")
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let everyone finish what is under way."""
        self.stopped.set()
        for thread in self.threads:
            thread.join()

    def guarded(self, work: Callable[[random.Random, Any], None], seed: int, who: object) -> None:
        """Do a client's work, and keep what went wrong for the test."""
        try:
            work(random.Random(seed), who)  # noqa: S311 - which row, not a secret
        except BaseException as error:
            self.errors.append(error)
            self.stopped.set()

    def insert(self, connection: psycopg.Connection[Any], user: UUID, place: UUID, text: str) -> None:
        """Make a row, bound."""
        value = encrypt(text, self.ring, context=config_context(user, place))
        connection.execute(
            "INSERT INTO public.user_server_configs (user_id, server_id, encrypted_config) VALUES (%s, %s, %s)",
            [user, place, value],
        )
        connection.commit()
        self.acknowledged[user, place] = text

    def serve(self, chance: random.Random, user: UUID) -> None:
        """Insert, update and delete the rows of a user, as a service does."""
        with psycopg.connect(self.url, options=f"-c role=portal_app -c app.current_user_id={user}") as connection:
            for number in range(10**9):
                if self.stopped.is_set():
                    return
                place = chance.choice(self.servers)
                text = f"{CANARY}{user} {number} {'x' * chance.randrange(200)}"
                if (user, place) not in self.acknowledged:
                    self.insert(connection, user, place, text)
                    self.writes["insert"] += 1
                    continue
                self.look(connection, user, place)
                if chance.random() < 0.1:
                    connection.execute("DELETE FROM public.user_server_configs WHERE server_id = %s", [place])
                    connection.commit()
                    del self.acknowledged[user, place]
                    self.writes["delete"] += 1
                    continue
                value = encrypt(text, self.ring, context=config_context(user, place))
                connection.execute(
                    "UPDATE public.user_server_configs SET encrypted_config = %s WHERE server_id = %s", [value, place]
                )
                # Somebody may well sit in a transaction for a while.
                time.sleep(chance.choice((0, 0, 0, 0.02)))
                connection.commit()
                self.acknowledged[user, place] = text
                self.writes["update"] += 1

    def look(self, connection: psycopg.Connection[Any], user: UUID, place: UUID) -> None:
        """Fail where the row does not hold what this client was last acknowledged."""
        found = connection.execute(
            "SELECT encrypted_config FROM public.user_server_configs WHERE server_id = %s", [place]
        ).fetchone()
        assert found
        opened = decrypt(found[0], self.ring, context=config_context(user, place))
        assert opened == self.acknowledged[user, place]

    def run(self, chance: random.Random, which: int) -> None:
        """Write the state of containers, half of the users' each, as the runner does."""
        with psycopg.connect(self.url, options="-c role=portal_runner", autocommit=True) as connection:
            for number in range(10**9):
                if self.stopped.is_set():
                    return
                found = connection.execute(
                    "UPDATE public.user_server_configs SET container_state = 'running', container_id = %s "
                    "WHERE user_id = %s AND server_id = %s RETURNING id",
                    [str(number), chance.choice(self.users[which::2]), chance.choice(self.servers)],
                ).fetchone()
                if found:
                    self.containers[found[0]] = str(number)
                    self.writes["state"] += 1


@pytest.mark.parametrize(("rounds", "kills"), [(2, 3), pytest.param(20, 10, marks=pytest.mark.soak)])
def test_rotation_under_sixteen_writers_and_sigkill(
    path: Path, url: str, portaldb: Portaldb, seed: int, rounds: int, kills: int
) -> None:
    """No row is lost, none is stale, every one opens, and at the end all are under the primary."""
    chance = random.Random(seed)  # noqa: S311 - moments, not secrets
    servers = [uuid4() for _ in range(60)]
    execute(
        url,
        "".join(
            "INSERT INTO public.mcp_servers (id, name, image, catalog_type) "
            f"VALUES ('{each}', '{each}', 'x:1', 'predefined');"
            for each in servers
        ),
    )
    interrupted = 0
    with Writers(url, Keyring.load(path), servers, seed) as writers:
        for _ in range(rounds):
            promote(path)
            ring = Keyring.load(path)
            for nth in range(kills):
                # Services read the new set some time after it was promoted.
                if nth == kills // 2:
                    writers.ring = ring
                with command("keys", "rotate", "--keys", str(path), "--batch", "25", database=url) as process:
                    until(lambda: process.poll() is not None or working(url), "the rotation to begin")
                    time.sleep(chance.uniform(0, 0.3))
                    interrupted += process.poll() is None
                    kill(process)
            with command("keys", "rotate", "--keys", str(path), "--batch", "100", database=url) as process:
                done = finish(process)
            assert done.returncode == 0, done.stdout + done.stderr
            if writers.errors:
                break
    assert not writers.errors, writers.errors
    assert interrupted >= rounds * kills // 2
    assert min(writers.writes[kind] for kind in ("insert", "update", "delete", "state")) > 20, writers.writes

    keys(portaldb, path, "rotate", database=url, check=True)
    ring = Keyring.load(path)
    found = rows(url)
    opened = {
        (row.user_id, row.server_id): decrypt(row.encrypted_config, ring, context=row.context) for row in found.values()
    }
    assert opened == writers.acknowledged
    assert {inspect(row.encrypted_config).kid for row in found.values()} == {ring.primary.kid}
    states = dict(ask(url, "SELECT id, container_id FROM public.user_server_configs WHERE container_id IS NOT NULL"))
    assert states == {each: value for each, value in writers.containers.items() if each in found}


def working(url: str) -> bool:
    """Say whether a rotation has its lock."""
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s"
    return bool(one(url, query, rotation.LOCK_KEY & 0xFFFFFFFF))
