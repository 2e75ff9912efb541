"""The manifest of a backup: what it holds, and the checksums by which it is known to be whole.

The files of one backup lie in one folder and carry one date, as the schema document names them.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from portaldb.errors import DamagedError, UsageError

FORMAT = 1
"""Of the manifest; a reader refuses another."""

_BLOCK = 1 << 20
_NAME = re.compile(r"^manifest_(\d{8}_\d{6})\.json$")
_ANY = re.compile(r"^(?:full_backup|schema|data|roles|manifest)_(\d{8}_\d{6})\.(?:dump|sql|json)$")


@dataclass(frozen=True)
class Table:
    """A table's rows in the snapshot: how many, and a sum of their hashes, whatever their order."""

    name: str
    root: str
    rows: int
    hash: str
    by: str
    """`record` or `text`: what of a row was hashed."""


@dataclass(frozen=True)
class File:
    """A file of the backup by its place below the folder."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Role:
    """A role that the database names, or a member of one; never its password."""

    name: str
    attributes: str
    member_of: list[str]
    comment: str | None = None


@dataclass(frozen=True)
class Manifest:
    """What one backup is."""

    date: str
    database: str
    system: str | None
    taken_at: str
    server: int
    clients: str
    portaldb: str
    migrations: list[str]
    roles_named: list[str]
    tables: list[Table]
    roles: list[Role]
    files: list[File] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(table.rows for table in self.tables)

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.bytes for file in self.files)


def manifest_name(date: str) -> str:
    """Return the name of a backup's manifest."""
    return f"manifest_{date}.json"


def dump_name(date: str) -> str:
    """Return the name of a backup's dump: a file in the custom format, a folder in the directory format."""
    return f"full_backup_{date}.dump"


def render(manifest: Manifest) -> str:
    """Return the text of a manifest, which carries its own checksum."""
    content = {"format": FORMAT} | asdict(manifest)
    return json.dumps(content | {"sha256": _digest(content)}, indent=1, ensure_ascii=False) + "\n"


def locate(path: Path) -> Path:
    """Return the manifest of the backup that a path names: any file of it, or a folder, whose latest is meant.

    Raises UsageError where there is none there, DamagedError where a file of a backup has no manifest beside it.
    """
    if not path.exists():
        raise UsageError(f"there is no {path}.")
    if found := _ANY.match(path.name):
        manifest = path.parent / manifest_name(found[1])
        if not manifest.exists():
            raise DamagedError(
                f"{path} has no {manifest.name} beside it: the backup was not finished, or its files were not kept "
                "together. It is not used. A dump that another program made is restored with pg_restore."
            )
        return manifest
    if path.is_dir():
        if dates := complete(path):
            return path / manifest_name(dates[-1])
        raise UsageError(f"there is no complete backup in {path}.")
    raise UsageError(
        f"{path} is no file of a backup: they are named {dump_name('DATE')} and {manifest_name('DATE')}. A dump that "
        "another program made is restored with pg_restore."
    )


def complete(folder: Path) -> list[str]:
    """Return the dates of the backups in a folder that have a manifest, earliest first."""
    return sorted(found[1] for each in folder.iterdir() if (found := _NAME.match(each.name)))


def read(path: Path) -> Manifest:
    """Read a manifest; raise DamagedError where it is not as it was written."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        claimed = content.pop("sha256")
        whole = claimed == _digest(content)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, KeyError, AttributeError):
        whole = False
    if not whole:
        raise DamagedError(f"{path} is damaged: it is not the text that was written. The backup is not used.")
    if content.pop("format") != FORMAT:
        raise UsageError(f"{path} is of another version of portaldb, {content.get('portaldb')}.")
    content["tables"] = [Table(**each) for each in content["tables"]]
    content["roles"] = [Role(**each) for each in content["roles"]]
    content["files"] = [File(**each) for each in content["files"]]
    return Manifest(**content)


def check(manifest: Manifest, folder: Path, watch: Callable[[int, int], None]) -> None:
    """Read every file of a backup and hold it to its checksum; raise DamagedError with what is wrong."""
    done = 0
    for file in manifest.files:
        path = folder / file.name
        try:
            size = path.stat().st_size
            if size != file.bytes:
                raise DamagedError(
                    f"{path} is damaged: it has {size:,} bytes and not {file.bytes:,}. The backup is not used; take "
                    "an earlier one."
                )
            digest = sha256(path, partial(_add, watch, done, manifest.bytes))
        except OSError as error:
            raise DamagedError(f"{path} cannot be read ({error.strerror}). The backup is not used.") from None
        if digest != file.sha256:
            raise DamagedError(
                f"{path} is damaged: its checksum is not the one it was written with. The backup is not used; take an "
                "earlier one."
            )
        done += size


def _add(watch: Callable[[int, int], None], before: int, total: int, count: int) -> None:
    watch(before + count, total)


def files_below(folder: Path) -> Iterator[Path]:
    """Return every file below a folder, in order."""
    yield from sorted(path for path in folder.rglob("*") if path.is_file())


def sha256(path: Path, watch: Callable[[int], None] | None = None) -> str:
    """Return a file's SHA-256; `watch` is told how far it is."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            done += len(block)
            if watch:
                watch(done)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Have the disk keep the names in a folder."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, ensure_ascii=True).encode()).hexdigest()
