"""`portaldb new` makes files that are lawful once they are written, and takes no number twice."""

import re
from pathlib import Path

import pytest
from conftest import Portaldb

from portaldb import lint, scaffold
from portaldb.errors import RefusedError, UsageError
from portaldb.source import read

BODIES = {
    "migration": ("ALTER TABLE public.users ADD COLUMN nick text;\n", "ALTER TABLE public.users DROP COLUMN nick;\n"),
    "function": ("", ""),
    "policy": ("CREATE POLICY users_x ON public.users USING (true);\n", "DROP POLICY users_x ON public.users;\n"),
    "seed": ("INSERT INTO public.users (id) VALUES ('1');\n", "DELETE FROM public.users WHERE id = '1';\n"),
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a tree whose series has come to 0007."""
    for name in ("migrations/0001_first", "policies/0007_latest"):
        path = tmp_path / f"{name}.sql"
        path.parent.mkdir()
        path.write_text("-- There.\nDROP VIEW public.v;\n", encoding="utf-8")
        path.with_name(f"{path.stem}.rollback.sql").write_text("-- Back.\nDROP VIEW public.v;\n", encoding="utf-8")
    return tmp_path


def write(path: Path, body: str) -> None:
    """Write a template as a person would: a sentence on the first line, words for the rest, a body."""
    first, rest = path.read_text(encoding="utf-8").split("\n", 1)
    assert first.startswith("-- <")
    path.write_text(
        "-- What it is for.\n"
        + re.sub("<.*?>", "words", rest).rstrip("\n")
        + "\n\n" * bool(body)
        + body
        + "\n" * (not body),
        encoding="utf-8",
    )


@pytest.mark.parametrize("kind", BODIES)
def test_new_is_lawful_once_written(tree: Path, kind: str) -> None:
    """The files take the next number, depend on the last file, and pass every tool once they are written."""
    forward, back = scaffold.new(kind, "add_widgets", source=tree)
    assert forward == tree / scaffold.KINDS[kind] / "0008_add_widgets.sql"
    assert back.name == "0008_add_widgets.rollback.sql"
    for path, body in zip((forward, back), BODIES[kind], strict=True):
        write(path, body)
    assert lint.run([forward, back]).findings == ()
    assert read(tree)[-1].depends == ("0007_latest",)


def test_new_non_transactional_is_lawful_once_written(tree: Path) -> None:
    """The template of a statement outside a transaction carries the directive on both ways."""
    forward, back = scaffold.new("migration", "add_index", source=tree, transactional=False)
    write(forward, "CREATE INDEX CONCURRENTLY idx_users_nick ON public.users (nick);\n")
    write(back, "DROP INDEX CONCURRENTLY public.idx_users_nick;\n")
    assert lint.run([forward, back]).findings == ()
    assert not read(tree)[-1].script.transactional


@pytest.mark.parametrize("kind", BODIES)
def test_new_is_not_lawful_before(tree: Path, kind: str) -> None:
    """A template that nobody has written yet does not pass for a migration."""
    for path in scaffold.new(kind, "add_widgets", source=tree):
        assert "header-sentence" in {each.rule for each in lint.own_findings([path])}


def test_new_starts_a_series(tmp_path: Path) -> None:
    """The first file of a series has the number 1 and depends on nothing."""
    (tmp_path / "migrations").mkdir()
    forward, _ = scaffold.new("migrations", "first", source=tmp_path)
    assert forward.name == "0001_first.sql"
    assert "depends" not in forward.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["Add", "add-widgets", "0008_add", "add__x", "_add", "add_", "", "../add", "a" * 64])
def test_new_refuses_a_name(tree: Path, name: str) -> None:
    """A name that the series cannot hold is refused, and nothing is written."""
    before = sorted(tree.rglob("*"))
    with pytest.raises(UsageError, match="not a name"):
        scaffold.new("migration", name, source=tree)
    assert sorted(tree.rglob("*")) == before


def test_new_refuses_what_is_there_and_what_cannot_be(tree: Path) -> None:
    """A name in use, a kind that is not there and a non-transactional seed are refused."""
    with pytest.raises(RefusedError, match="0007_latest"):
        scaffold.new("seed", "latest", source=tree)
    with pytest.raises(UsageError, match="migration, function, policy, seed"):
        scaffold.new("view", "latest_view", source=tree)
    with pytest.raises(UsageError, match="non-transactional"):
        scaffold.new("seed", "more", source=tree, transactional=False)


def test_new_refuses_where_there_is_no_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package is no place to write, nor is a folder without the four."""
    with pytest.raises(RefusedError, match="not a tree of migrations"):
        scaffold.new("migration", "add", source=tmp_path)
    monkeypatch.setattr(scaffold, "in_checkout", lambda: False)
    with pytest.raises(RefusedError, match="--source"):
        scaffold.new("migration", "add")


def test_new_command_prints_the_two_paths(tree: Path, portaldb: Portaldb) -> None:
    """The command prints what it made, for a script to open, and says what comes next elsewhere."""
    done = portaldb("new", "migration", "add_widgets", "--source", str(tree), cwd=tree)
    assert done.stdout.split() == ["migrations/0008_add_widgets.sql", "migrations/0008_add_widgets.rollback.sql"]
    assert "portaldb lint" in done.stderr
    assert portaldb("new", "migration", "Add", "--source", str(tree)).returncode == 2
