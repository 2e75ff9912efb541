"""A new migration and its way back, from a template, with the next number of the series."""

import re
from pathlib import Path

from portaldb.errors import RefusedError, UsageError
from portaldb.layout import FOLDERS, in_checkout, sql_root

KINDS = {"migration": "migrations", "function": "functions", "policy": "policies", "seed": "seeds"}
"""What can be made, in the singular, with its folder."""

_TEMPLATES = Path(__file__).parent / "templates"
_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")
_NUMBERED = re.compile(r"(\d{4})_.*(?<!\.rollback)\.sql")
_LAST_NUMBER = 9999
_LONGEST_NAME = 63  # the longest name PostgreSQL keeps; the file is often named after what it makes


def new(kind: str, name: str, *, source: Path | None = None, transactional: bool = True) -> tuple[Path, Path]:
    """Write NNNN_name.sql and its rollback below `source` (default: this checkout), and return their paths.

    Raises UsageError for a kind or name that cannot be, RefusedError where there is no tree to write into.
    """
    folder = KINDS.get(kind, kind)
    if folder not in FOLDERS:
        raise UsageError(f"there is no kind {kind!r}. Choose one of {', '.join(KINDS)}.")
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise UsageError(
            f"{name!r} is not a name for a migration. Use words in lower case joined by underscores, without a "
            f"number in front, {_LONGEST_NAME} characters at most: add_widgets."
        )
    if not transactional and folder != "migrations":
        raise UsageError("only a migration can be non-transactional.")
    root = _root(source)
    existing = {path.stem for each in FOLDERS for path in (root / each).glob("*.sql") if _NUMBERED.fullmatch(path.name)}
    if same := next((stem for stem in sorted(existing) if stem[5:] == name), None):
        raise RefusedError(f"there is already a {same}. Nothing was written. Choose a name that says what is new.")
    number = max((int(stem[:4]) for stem in existing), default=0) + 1
    if number > _LAST_NUMBER:
        raise RefusedError("the series has reached 9999, and a number has four digits. Nothing was written.")
    (root / folder).mkdir(exist_ok=True)
    template = folder if transactional else "non_transactional"
    words = {"name": name, "depends": max(existing, default="")}
    made = []
    for suffix in (".sql", ".rollback.sql"):
        text = (_TEMPLATES / f"{template}{suffix}").read_text(encoding="utf-8")
        path = root / folder / f"{number:04d}_{name}{suffix}"
        # 'x': two people (or two commands) that take the same number must not overwrite each other.
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(_fill(text, words))
        made.append(path)
    return made[0], made[1]


def _root(source: Path | None) -> Path:
    if source is not None:
        if not any((source / folder).is_dir() for folder in FOLDERS):
            raise RefusedError(
                f"{source} holds none of {', '.join(f'{each}/' for each in FOLDERS)}, so it is not a tree of "
                "migrations. Nothing was written. Give the folder that they lie in, or make the one you need first."
            )
        return source
    if not in_checkout():
        raise RefusedError(
            "this portaldb is installed as a package, and its SQL is not a place to write. Nothing was written. "
            "Run it in a checkout, or name one with --source."
        )
    return sql_root()


def _fill(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        if word == "depends" and not value:
            text = text.replace("-- depends: <depends>\n", "")  # the first file of a series
        text = text.replace(f"<{word}>", value)
    return text
