"""Migrations as files: read, numbered, and split where PostgreSQL itself would."""

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import series

from portaldb.errors import RefusedError, UsageError
from portaldb.source import UnparsableError, read, read_script, split


def written(folder: Path, text: str | bytes, name: str = "0001_a.sql") -> Path:
    """Write one file and return its path."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# Splitting -------------------------------------------------------------------------------------------------------

SPLITS = {
    "a semicolon in a string": ("SELECT ';'; SELECT 2", ["SELECT ';'", "SELECT 2"]),
    "a backslash before a quote": ("SELECT 'c:\\'; SELECT 2;", ["SELECT 'c:\\'", "SELECT 2"]),
    "an escape string": (r"SELECT E'it\'s; one'; SELECT 2", [r"SELECT E'it\'s; one'", "SELECT 2"]),
    "dollar quotes": ("SELECT $a$ ; $b$ ; $a$; SELECT 2", ["SELECT $a$ ; $b$ ; $a$", "SELECT 2"]),
    "a column named begin": (
        "CREATE TABLE t (begin int); SELECT begin FROM t;",
        ["CREATE TABLE t (begin int)", "SELECT begin FROM t"],
    ),
    "a quoted name": ('SELECT 1 AS "a;b"; SELECT 2', ['SELECT 1 AS "a;b"', "SELECT 2"]),
    "an SQL-standard body": (
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT 3",
        ["CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END", "SELECT 3"],
    ),
    "comments, nested and not": (
        "/* a; /* b; */ c; */ SELECT 1; -- d;\nSELECT 2 /* ; */ + 1;",
        ["SELECT 1", "SELECT 2 /* ; */ + 1"],
    ),
    "empty statements": (";; SELECT 1 ;; ;", ["SELECT 1"]),
    "letters of more than a byte": ("SELECT 'äöü€😀'; SELECT 'ß'", ["SELECT 'äöü€😀'", "SELECT 'ß'"]),
    "nothing at all": ("", []),
    "comments alone": ("-- a\n/* b */\n", []),
}


@pytest.mark.parametrize(("text", "expected"), SPLITS.values(), ids=SPLITS)
def test_split_cuts_where_postgresql_does(text: str, expected: list[str]) -> None:
    """No string, comment, name or body is cut in two, and no two statements are one."""
    assert [statement.text for statement in split(text)] == expected


def test_split_knows_each_place() -> None:
    """A statement's offset counts characters and its line begins at its first token, behind its comments."""
    text = "-- 'é'\n\nSELECT 'é€😀';\n-- why\n/* and\nhow */ SELECT 2;\n"
    first, second = split(text)
    assert (first.line, second.line) == (3, 6)
    for statement in (first, second):
        assert text[statement.offset :].startswith(statement.text)


def test_split_names_the_kind() -> None:
    """The kind is the parse tree's node."""
    assert [each.kind for each in split("CREATE INDEX i ON t (a); COMMIT; VACUUM; DROP INDEX i")] == [
        "IndexStmt",
        "TransactionStmt",
        "VacuumStmt",
        "DropStmt",
    ]


def test_split_says_where_it_does_not_understand() -> None:
    """The place is the server's: the first token that does not fit, in characters."""
    text = "SELECT 'é';\nSELEC 1;"
    with pytest.raises(UnparsableError, match="SELEC") as caught:
        split(text)
    assert text[caught.value.offset :].startswith("SELEC 1")


LITERALS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@given(st.lists(LITERALS, min_size=1, max_size=5))
def test_split_of_any_literals_is_one_statement_each(literals: list[str]) -> None:
    """Whatever a string, a comment and a quoted name hold, the pieces are those that were joined."""
    statements = [
        "SELECT '{}' /* {} */".format(each.replace("'", "''"), each.translate(_HARMLESS)) for each in literals
    ]
    text = ";\n".join(statements)
    found = split(text)
    assert [each.text for each in found] == statements
    assert all(text[each.offset :].startswith(each.text) for each in found)


_HARMLESS = str.maketrans("", "", "/*")


# Reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [b"SELECT 1;\r\nSELECT 2;\r\n", b"\xef\xbb\xbfSELECT 1;\nSELECT 2;\n", b"SELECT 1;\rSELECT 2;\r"],
    ids=["CRLF", "byte order mark", "CR"],
)
def test_editors_habits_are_no_change(data: bytes, tmp_path: Path) -> None:
    """Line endings and a byte order mark neither reach the server nor count as an edit."""
    assert read_script(written(tmp_path, data)).text == "SELECT 1;\nSELECT 2;\n"
    series(tmp_path / "lf", {"0001_a": "SELECT 1;\nSELECT 2;\n"})
    series(tmp_path / "other", {"0001_a": ""})
    written(tmp_path / "other/migrations", data)
    assert read(tmp_path / "lf")[0].checksum == read(tmp_path / "other")[0].checksum


def test_white_space_is_a_change(tmp_path: Path) -> None:
    """Only line endings are normalised: a space in a literal matters."""
    series(tmp_path / "one", {"0001_a": "SELECT ' ';"})
    series(tmp_path / "two", {"0001_a": "SELECT '  ';"})
    assert read(tmp_path / "one")[0].checksum != read(tmp_path / "two")[0].checksum


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ("SELECT 1;\nSELECT 'é';".encode("latin-1"), 2),
        ("SELECT 1;".encode("utf-16"), 1),
        (b"SELECT 1;\n\nSELECT 2; \0 SELECT 3;", 3),
    ],
    ids=["Latin-1", "UTF-16", "a NUL, where the server would stop reading"],
)
def test_what_is_no_text_is_refused(data: bytes, line: int, tmp_path: Path) -> None:
    """The message names the file and the line."""
    with pytest.raises(RefusedError, match=rf"/0001_a\.sql, line {line}, is not UTF-8 text"):
        read_script(written(tmp_path, data))


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A folder or a dangling link by a migration's name is a sentence, not a traceback."""
    (tmp_path / "migrations/0001_a.sql").mkdir(parents=True)
    with pytest.raises(RefusedError, match=r"migrations/0001_a\.sql cannot be read: Is a directory"):
        read(tmp_path)


def test_header_ends_at_the_first_statement(tmp_path: Path) -> None:
    """Directives stand before the SQL; the same one twice is joined; a comment below is a comment."""
    script = read_script(
        written(
            tmp_path,
            "-- What it is for.\n--   depends:  0001_a 0002_b  \n-- depends: 0003_c\n-- transactional: False\n"
            "-- loses: the names\n\nSELECT 1;\n-- irreversible: no\n",
        )
    )
    assert script.directives == {
        "depends": "0001_a 0002_b 0003_c",
        "transactional": "False",
        "loses": "the names",
    }
    assert not script.transactional


@pytest.mark.parametrize(
    "name",
    [
        "1_a.sql",
        "00001_a.sql",
        "0001-a.sql",
        "0001_A.sql",
        "0001_a__b.sql",
        "0001_.sql",
        "0001.sql",
        "a.sql",
        "0001_é.sql",
    ],
)
def test_name_out_of_the_series_is_refused(name: str, tmp_path: Path) -> None:
    """A file that does not fit the pattern is named, not left out."""
    series(tmp_path, {"0001_a": "SELECT 1;"})
    written(tmp_path / "migrations", "SELECT 1;", name)
    with pytest.raises(RefusedError, match="is not named NNNN_snake_case") as caught:
        read(tmp_path)
    assert unicodedata.normalize("NFC", name) in unicodedata.normalize("NFC", str(caught.value))


def test_one_series_over_four_folders(tmp_path: Path) -> None:
    """Order is the number's, whatever the folder; a number used twice is refused."""
    for folder, name in (
        ("seeds", "0004_d"),
        ("migrations", "0001_a"),
        ("policies", "0003_c"),
        ("functions", "0002_b"),
    ):
        (tmp_path / folder).mkdir()
        written(tmp_path / folder, "SELECT 1;", f"{name}.sql")
    assert [each.name for each in read(tmp_path)] == [
        "migrations/0001_a.sql",
        "functions/0002_b.sql",
        "policies/0003_c.sql",
        "seeds/0004_d.sql",
    ]
    written(tmp_path / "functions", "SELECT 1;", "0003_x.sql")
    with pytest.raises(RefusedError, match=r"policies/0003_c\.sql and functions/0003_x\.sql have the same number"):
        read(tmp_path)


@pytest.mark.parametrize("depends", ["0002_b", "0003_c", "0009_nowhere"], ids=["itself", "a later one", "no one"])
def test_dependency_points_backwards(depends: str, tmp_path: Path) -> None:
    """A migration depends on what comes before it, or is refused."""
    series(tmp_path, {"0001_a": "SELECT 1;", "0002_b": f"-- depends: {depends}\nSELECT 1;", "0003_c": "SELECT 1;"})
    with pytest.raises(RefusedError, match=rf"0002_b\.sql depends on {depends}, which does not come before it"):
        read(tmp_path)


def test_folder_without_migrations_is_said(tmp_path: Path) -> None:
    """The wrong folder is not an empty series, which would look clean."""
    with pytest.raises(UsageError, match="there are no migrations below"):
        read(tmp_path)


def test_way_back_is_a_file_or_a_reason(tmp_path: Path) -> None:
    """A missing rollback is refused; irreversible refuses with its reason, even beside a rollback file."""
    series(
        tmp_path,
        {"0001_a": "SELECT 1;", "0002_b": "SELECT 1;", "0003_c": "-- irreversible: keys were shredded\nSELECT 1;"},
        {"0001_a": "SELECT 2;", "0003_c": "SELECT 2;"},
    )
    first, second, third = read(tmp_path)
    assert first.rollback().text == "SELECT 2;"
    with pytest.raises(RefusedError, match=r"0002_b\.sql has no 0002_b\.rollback\.sql beside it"):
        second.rollback()
    with pytest.raises(RefusedError, match=r"0003_c\.sql cannot be undone: keys were shredded"):
        third.rollback()
