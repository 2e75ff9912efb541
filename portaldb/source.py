"""The migrations as files: found, read, numbered, split into statements by PostgreSQL's own parser."""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from portaldb.errors import RefusedError, UsageError
from portaldb.layout import FOLDERS

_NAME = re.compile(r"^(\d{4})_[a-z0-9]+(?:_[a-z0-9]+)*$")
_DIRECTIVE = re.compile(r"^--\s*(depends|transactional|irreversible|loses|no-rls):\s*(.*?)\s*$")


@dataclass(frozen=True)
class Statement:
    """One statement of a file."""

    text: str
    """From its first token, without the semicolon."""
    offset: int
    """Where the text begins in the file, in characters."""
    line: int
    """The line the text begins on, counted from 1."""
    tree: dict[str, Any]
    """libpg_query's parse tree of it: one key, the node's name."""

    @property
    def kind(self) -> str:
        """The name of the parse tree's node, such as `IndexStmt`."""
        return next(iter(self.tree))


class UnparsableError(ValueError):
    """The parser does not know this SQL: a mistake, or a syntax newer than the parser."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


@dataclass(frozen=True)
class Script:
    """A file of SQL: its text with LF line endings and no byte order mark, and its header's directives."""

    path: Path
    text: str
    directives: dict[str, str]

    @property
    def transactional(self) -> bool:
        """Whether the file runs in one transaction (`-- transactional: false` says not)."""
        return self.directives.get("transactional", "true").lower() != "false"

    @cached_property
    def statements(self) -> tuple[Statement, ...]:
        """Split the text; raise UnparsableError where the parser does not know it."""
        return split(self.text)


@dataclass(frozen=True)
class Migration:
    """One numbered change and the way back."""

    id: str
    folder: str
    script: Script
    rollback_path: Path

    @property
    def number(self) -> int:
        """Its place in the one series of the four folders."""
        return int(self.id[:4])

    @property
    def name(self) -> str:
        """The file as a person names it, such as `policies/0012_isolation.sql`."""
        return f"{self.folder}/{self.script.path.name}"

    @property
    def depends(self) -> tuple[str, ...]:
        """The ids that its header depends on."""
        return tuple(self.script.directives.get("depends", "").split())

    @property
    def irreversible(self) -> str | None:
        """Why it cannot be undone, or None."""
        return self.script.directives.get("irreversible")

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of the text, line endings normalised, in hex."""
        return hashlib.sha256(self.script.text.encode()).hexdigest()

    def rollback(self) -> Script:
        """Read the way back; raise RefusedError where there is none."""
        if self.irreversible is not None:
            raise RefusedError(f"{self.name} cannot be undone: {self.irreversible}. Nothing was changed.")
        if not self.rollback_path.is_file():
            raise RefusedError(
                f"{self.name} has no {self.rollback_path.name} beside it, and does not say that it is irreversible. "
                "Nothing was changed. Write the rollback file, or choose a later target."
            )
        return read_script(self.rollback_path)


def read_script(path: Path) -> Script:
    """Read one file; raise RefusedError where it is not UTF-8 text.

    A byte order mark is dropped and CRLF becomes LF, so that an editor's habit neither reaches the server nor
    counts as a change.
    """
    try:
        data = path.read_bytes()
        # The server reads up to a NUL and would leave the rest out without a word.
        nul = data.find(b"\0")
        text = (data if nul < 0 else data[:nul] + b"\xff").decode("utf-8-sig")
    except OSError as error:
        raise RefusedError(
            f"{path.parent.name}/{path.name} cannot be read: {error.strerror}. Nothing was changed."
        ) from None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise RefusedError(
            f"{path.parent.name}/{path.name}, line {line}, is not UTF-8 text. Nothing was changed. Save it as UTF-8."
        ) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    directives: dict[str, str] = {}
    for line_text in text.splitlines():
        if line_text.strip() and not line_text.startswith("--"):
            break
        if match := _DIRECTIVE.match(line_text):
            key, value = match.groups()
            directives[key] = f"{directives[key]} {value}" if key in directives else value
    return Script(path, text, directives)


def read(root: Path) -> list[Migration]:
    """Return the migrations below `root` in the order of their numbers.

    Raises RefusedError for a name out of the series, a number used twice, or a dependency that is not there
    or does not point backwards.
    """
    migrations: list[Migration] = []
    for folder in FOLDERS:
        for path in sorted((root / folder).glob("*.sql")):
            if path.name.endswith(".rollback.sql"):
                continue
            if not _NAME.match(path.stem):
                raise RefusedError(f"{folder}/{path.name} is not named NNNN_snake_case.sql. Rename it.")
            rollback = path.with_name(f"{path.stem}.rollback.sql")
            migrations.append(Migration(path.stem, folder, read_script(path), rollback))
    if not migrations:
        raise UsageError(f"there are no migrations below {root}: no {', '.join(f'{name}/' for name in FOLDERS)}.")
    migrations.sort(key=lambda each: each.id)
    seen: dict[str, Migration] = {}
    for migration in migrations:
        twin = next((each for each in seen.values() if each.number == migration.number), None)
        if twin:
            raise RefusedError(f"{twin.name} and {migration.name} have the same number. Give the newer one the next.")
        for wanted in migration.depends:
            if wanted not in seen:
                raise RefusedError(
                    f"{migration.name} depends on {wanted}, which does not come before it. Correct its `-- depends:`."
                )
        seen[migration.id] = migration
    return migrations


def split(text: str) -> tuple[Statement, ...]:
    """Split SQL into statements with libpg_query, so that no string, comment or body is cut in two.

    Raises UnparsableError, with the place in characters.
    """
    import pgparse

    data = text.encode()
    try:
        nodes = pgparse.parse(text)
    except pgparse.PGQueryError as error:
        raise UnparsableError(str(error.message), max(error.position - 1, 0)) from None
    statements = []
    # The parser counts in bytes; from one statement to the next, so that a long file costs no more than its length.
    byte, offset, line = 0, 0, 1
    for node in nodes:
        start = node.get("stmt_location", 0)
        length = node.get("stmt_len") or len(data) - start
        raw = data[start : start + length].decode()
        lead = _leading_blank(raw)
        passed = data[byte:start].decode() + raw[:lead]
        byte, offset, line = start + len(raw[:lead].encode()), offset + len(passed), line + passed.count("\n")
        statements.append(Statement(raw[lead:].rstrip(), offset, line, node["stmt"]))
    return tuple(statements)


def _leading_blank(sql: str) -> int:
    """Count the white space and comments (which may nest) that the parser leaves before a statement's first token."""
    depth, at = 0, 0
    while at < len(sql):
        pair = sql[at : at + 2]
        if pair == "/*":
            depth, at = depth + 1, at + 2
        elif depth:
            depth, at = (depth - 1, at + 2) if pair == "*/" else (depth, at + 1)
        elif pair == "--":
            newline = sql.find("\n", at)
            at = len(sql) if newline < 0 else newline + 1
        elif sql[at].isspace():
            at += 1
        else:
            break
    return at
