"""Report files: known to be writable before a run begins, and whole or not there at its end."""

import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from portaldb.errors import RefusedError


def require(paths: Iterable[Path]) -> None:
    """Raise RefusedError where a report could not be written, or two would go into one file."""
    seen: set[Path] = set()
    for path in paths:
        if path.resolve() in seen and not _is_special(path):
            raise RefusedError(f"Two reports would go into {path}. Name a file for each; nothing was run.")
        seen.add(path.resolve())
        if not _is_special(path):
            try:
                beside = _beside(path)
                beside.touch(exist_ok=False)
                beside.unlink()
            except OSError as error:
                raise _refused(path, error, "nothing was run") from None


def write(path: Path, text: str) -> None:
    """Write a report: a reader sees the old file or the new one, never half of it. Raises RefusedError."""
    if _is_special(path):
        path.write_text(text, encoding="utf-8")
        return
    beside = _beside(path)
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(os.path.realpath(path))
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise _refused(path, error, "the run is over, and what it wrote before is there") from None


def _is_special(path: Path) -> bool:
    """Say whether this is a pipe or a device, such as /dev/stdout, which no file may take the place of."""
    return path.exists() and not path.is_file()


def _beside(path: Path) -> Path:
    """Return a name beside a file, on the same file system; a link stays one."""
    path = Path(os.path.realpath(path))
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


def _refused(path: Path, error: OSError, state: str) -> RefusedError:
    return RefusedError(
        f"The report {path} cannot be written: {error.strerror}. Choose a folder that is there and yours; {state}."
    )
