"""The SQL that the package itself runs, in .sql files; each query is named by a `-- name:` line.

`load("history")["applied"]` is the text under `-- name: applied` in history.sql. A file is read once.
"""

import re
from functools import cache
from pathlib import Path

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def load(stem: str) -> dict[str, str]:
    """Return the queries of `<stem>.sql` by name."""
    return split((Path(__file__).parent / f"{stem}.sql").read_text(encoding="utf-8"))


def split(text: str) -> dict[str, str]:
    """Return the queries of such a file's text by name."""
    parts = _NAME.split(text)
    return {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}
