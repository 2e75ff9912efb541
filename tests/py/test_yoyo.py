"""Our record is yoyo's to the letter: its tables, its hash, its order; plain yoyo reads what we wrote."""

from pathlib import Path

from conftest import MakeDatabase, Portaldb
from support import ask, series, yoyo
from yoyo import read_migrations
from yoyo.migrations import get_migration_hash, topological_sort

from portaldb.layout import FOLDERS, sql_root
from portaldb.source import read

TABLES = """
    SELECT
        c.relname, c.relkind::text, c.relpersistence::text, a.attnum, a.attname,
        format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid)
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
    LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relname ~ '^_yoyo_(migration|log|version)' ORDER BY c.relname, a.attnum
"""
CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE conrelid::regclass::text ~ '^_yoyo' ORDER BY 1, 2
"""


def test_tables_are_those_that_yoyo_makes(make_database: MakeDatabase, portaldb: Portaldb, tmp_path: Path) -> None:
    """Column by column and key by key, and of the same version, so that yoyo has nothing to upgrade."""
    root = series(tmp_path, {"0001_nothing": "DO $$ BEGIN NULL; END; $$;"})
    theirs, ours = make_database(init=False), make_database()
    yoyo("apply", theirs, root / "migrations")
    portaldb("migrate", "--source", str(root), database=ours, check=True)
    for question in (TABLES, CONSTRAINTS, "SELECT version FROM public._yoyo_version ORDER BY 1"):
        told = ask(theirs, question)
        assert told
        assert ask(ours, question) == told


def test_marks_carry_yoyo_s_hash(make_database: MakeDatabase) -> None:
    """By the hash of its id does yoyo find a migration."""
    marks = ask(make_database(migrate=True), "SELECT migration_id, migration_hash FROM public._yoyo_migration")
    assert marks
    assert all(found == get_migration_hash(name) for name, found in marks)


def test_order_is_yoyo_s() -> None:
    """Sorted by what they depend on, yoyo leaves the migrations as their numbers have them."""
    theirs = read_migrations(*(str(sql_root() / name) for name in FOLDERS))
    ours = [each.id for each in read(sql_root())]
    assert [each.id for each in topological_sort(sorted(theirs, key=lambda each: ours.index(each.id)))] == ours
