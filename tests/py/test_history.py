"""The judgement of `status` and `migrate`: files held against the record, a pure function, state by state."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from conftest import MakeDatabase, Portaldb
from hypothesis import given
from hypothesis import strategies as st
from support import ask, series

from portaldb import database, engine
from portaldb.errors import RefusedError, UsageError
from portaldb.history import CLEAN, REFUSED, REMEDY, Entry, Record, State, compare, difference, records
from portaldb.source import Migration, Script

FIRST, SECOND, THIRD = "0001_a", "0002_b", "0003_c"


def migration(name: str, text: str = "SELECT 1;") -> Migration:
    """Return a migration that lies in no folder."""
    path = Path(f"migrations/{name}.sql")
    return Migration(name, "migrations", Script(path, text, {}), path.with_name(f"{name}.rollback.sql"))


FILES = [migration(FIRST), migration(SECOND), migration(THIRD)]


def record(name: str, state: str | None = "applied", *, marked: bool = True, text: str = "SELECT 1;") -> Record:
    """Return a row of the record, of today."""
    checksum = None if state is None else migration(name, text).checksum
    return Record(name, marked, state, checksum, "dba", datetime.now(UTC), 0.1, None)


APPLIED = record(FIRST)
CASES = {
    "nothing is recorded": ([], [State.PENDING] * 3),
    "all is applied": ([APPLIED, record(SECOND), record(THIRD)], [State.APPLIED] * 3),
    "the first is applied": ([APPLIED], [State.APPLIED, State.PENDING, State.PENDING]),
    "adopted counts as applied": ([record(FIRST, "adopted")], [State.ADOPTED, State.PENDING, State.PENDING]),
    "adopted, and edited since": (
        [record(FIRST, "adopted", text="SELECT 2;")],
        [State.EDITED, State.PENDING, State.PENDING],
    ),
    "edited": ([record(FIRST, text="SELECT 2;")], [State.EDITED, State.PENDING, State.PENDING]),
    "a late file": ([APPLIED, record(THIRD)], [State.APPLIED, State.OUT_OF_ORDER, State.APPLIED]),
    "a late file that failed": (
        [APPLIED, record(SECOND, "failed", marked=False), record(THIRD)],
        [State.APPLIED, State.OUT_OF_ORDER, State.APPLIED],
    ),
    "failed": ([APPLIED, record(SECOND, "failed", marked=False)], [State.APPLIED, State.FAILED, State.PENDING]),
    "failed, and mended since": (
        [APPLIED, record(SECOND, "failed", marked=False, text="SELEC;")],
        [State.APPLIED, State.FAILED, State.PENDING],
    ),
    "failed, and marked by plain yoyo since": (
        [record(FIRST, "failed")],
        [State.UNVERIFIED, State.PENDING, State.PENDING],
    ),
    "started": ([APPLIED, record(SECOND, "started", marked=False)], [State.APPLIED, State.STARTED, State.PENDING]),
    "started, and edited since": (
        [record(FIRST, "started", marked=False, text="SELECT 2;")],
        [State.EDITED, State.PENDING, State.PENDING],
    ),
    "half undone": ([APPLIED, record(SECOND, "undoing")], [State.APPLIED, State.UNDOING, State.PENDING]),
    "marked by plain yoyo": ([record(FIRST, None)], [State.UNVERIFIED, State.PENDING, State.PENDING]),
    "un-marked by plain yoyo": ([record(FIRST, marked=False)], [State.UNMARKED, State.PENDING, State.PENDING]),
    "half undone and un-marked": (
        [record(FIRST, "undoing", marked=False)],
        [State.UNMARKED, State.PENDING, State.PENDING],
    ),
}


@pytest.mark.parametrize(("applied", "expected"), CASES.values(), ids=CASES)
def test_compare_judges_each_file(applied: list[Record], expected: list[State]) -> None:
    """Each case of the record gives each file its state."""
    assert [entry.state for entry in compare(FILES, applied)] == expected


def test_compare_keeps_what_has_no_file() -> None:
    """An applied migration without a file is missing, in its place; a failed attempt without one is forgotten."""
    applied = [record("0000_old"), APPLIED, record("0002_gone"), record("0004_withdrawn", "failed", marked=False)]
    assert [(entry.id, entry.state) for entry in compare(FILES, applied)] == [
        ("0000_old", State.MISSING),
        (FIRST, State.APPLIED),
        (SECOND, State.OUT_OF_ORDER),
        ("0002_gone", State.MISSING),
        (THIRD, State.PENDING),
    ]
    # One that was begun may have left something.
    begun = [record("0002_gone", "started", marked=False)]
    assert [entry.state for entry in compare(FILES, begun) if entry.id == "0002_gone"] == [State.MISSING]


def test_every_state_is_reached_and_explained() -> None:
    """No state is a dead letter, and each that asks for somebody says what to do."""
    reached = {entry.state for applied, _expected in CASES.values() for entry in compare(FILES, applied)}
    assert reached | {State.MISSING} == set(State)
    assert set(REMEDY) == set(State) - CLEAN - {State.PENDING}
    assert REFUSED.isdisjoint(CLEAN)


@given(
    st.lists(st.sampled_from([None, "applied", "adopted", "failed", "started", "undoing"]), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_nothing_applied_is_ever_pending(states: list[str | None], marks: list[bool], there: list[bool]) -> None:
    """Whatever the record holds, what migrate would run was not applied before, and nothing is lost from the list."""
    applied = [
        record(each.id, state, marked=marked or state is None)
        for each, state, marked, exists in zip(FILES, states, marks, there, strict=True)
        if exists
    ]
    entries = compare(FILES, applied)
    assert [entry.id for entry in entries] == [FIRST, SECOND, THIRD]
    by_id = {each.id: each for each in applied}
    for entry in entries:
        if entry.state in (State.PENDING, State.FAILED, State.STARTED):
            row = by_id.get(entry.id)
            assert row is None or not row.marked or row.state == "started"
            assert row is None or row.state in ("failed", "started")


def test_difference_shows_the_lines_and_no_more_than_asked() -> None:
    """The hint is a diff without context, cut where it is long."""
    now = migration(FIRST, "a\nB\nc\n")
    assert difference(now, "a\nb\nc\n").splitlines() == [
        "    --- applied",
        "    +++ migrations/0001_a.sql",
        "    @@ -2 +2 @@",
        "    -b",
        "    +B",
    ]
    long = difference(now, "\n".join(map(str, range(100))), lines=5)
    assert len(long.splitlines()) == 6
    assert long.endswith("more lines")


@pytest.mark.parametrize("target", ["2", "02", "0002", "0002_b", " 2 "])
def test_target_is_a_number_or_an_id(target: str) -> None:
    """Numbers with or without their zeros, and whole ids."""
    assert engine.up_to(FILES, target) == FILES[:2]


@pytest.mark.parametrize("target", ["0", "4", "-1", "0002_", "b", "", "0002_b.sql", "²"])
def test_unknown_target_is_refused(target: str) -> None:
    """What names no migration is an error that names the range, not the nearest one."""
    with pytest.raises(UsageError, match=r"there is no migration .*: they run from 0001_a to 0003_c"):
        engine.up_to(FILES, target)


def entries(*states: State) -> list[Entry]:
    """Return one entry for each of the three files."""
    return [Entry(each.id, state, each, None) for each, state in zip(FILES, states, strict=True)]


def test_pending_is_what_migrate_runs() -> None:
    """Pending, failed, started and half undone, up to the target."""
    found = entries(State.FAILED, State.STARTED, State.PENDING)
    assert engine.pending(found, FILES) == FILES
    assert engine.pending(found, FILES[:1]) == FILES[:1]
    assert engine.pending(entries(State.APPLIED, State.ADOPTED, State.UNDOING), FILES) == FILES[2:]


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        ("", [State.APPLIED, State.PENDING]),
        ("DROP TABLE public._portaldb_migration", [State.UNVERIFIED, State.PENDING]),
        ("DROP TABLE public._yoyo_migration", [State.UNMARKED, State.PENDING]),
        ("DROP TABLE public._yoyo_migration, public._portaldb_migration", [State.PENDING, State.PENDING]),
        ("DELETE FROM public._yoyo_migration", [State.UNMARKED, State.PENDING]),
    ],
    ids=["both", "yoyo's alone", "ours alone", "none", "un-marked"],
)
def test_records_of_whatever_tables_are_there(
    tables: str, expected: list[State], make_database: MakeDatabase, portaldb: Portaldb, tmp_path: Path
) -> None:
    """A table that is lost never makes an applied migration pending, as long as the other is there."""
    url = make_database()
    series(tmp_path, {FIRST: "SELECT 1;"})
    portaldb("migrate", "--source", str(tmp_path), database=url, check=True)
    if tables:
        ask(url, tables)
    with database.connect(url) as connection, database.reading(connection):
        assert [entry.state for entry in compare(FILES[:2], records(connection))] == expected
        if expected[0] in REFUSED:
            with pytest.raises(RefusedError, match=f"0001_a.sql is {expected[0]}"):
                engine.look(connection, FILES[:2])


def test_the_logins_datestyle_does_not_hide_the_record(make_database: MakeDatabase, portaldb: Portaldb) -> None:
    """A login whose DateStyle is not ISO sees the same moments."""
    url = make_database(migrate=True)
    seen = [
        portaldb("status", "--json", database=url, env={"PGDATESTYLE": style}, check=True).stdout
        for style in ("ISO", "German")
    ]
    assert seen[0] == seen[1]
    assert '"since": "20' in seen[0]
