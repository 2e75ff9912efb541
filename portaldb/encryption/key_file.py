"""Writing the key file: whole or not at all, one change after the other, and readable by nobody else.

A change is written beside the file, flushed to the disk and renamed over it, so whoever reads or is killed at any
moment has the old set or the new one. The lock is on the file itself, and leaves nothing behind.
"""

import fcntl
import os
import re
import shlex
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from portaldb.encryption import base64url, sources
from portaldb.encryption.key_set import Document, render
from portaldb.encryption.keyring import Keyring, KeyringError
from portaldb.errors import LockTimeoutError

T = TypeVar("T")

_PATIENCE = 30.0
"""Seconds to wait for another change of the same file."""
_UNFINISHED = ".new"
_HALF = re.compile("[\ud800-\udfff]")
"""JSON can escape it, UTF-8 cannot write it."""


def place(path: Path | None) -> Path:
    """Return the key file that a command changes: what is given, else what PORTALDB_KEYS_FILE names.

    Raises KeyringError where the keys come from a variable or a command, which cannot be written to.
    """
    given = os.environ.get(sources.FILE) if path is None else str(path)
    if given and given.lstrip().startswith("{"):
        raise KeyringError("What is given as the key file's name is a JWK Set itself. Nothing was changed.")
    if path is not None:
        return path
    for name in (sources.TEXT, sources.COMMAND):
        if os.environ.get(name):
            raise KeyringError(
                f"The keys come from {name}, which portaldb cannot change. Nothing was changed. Write them into a file "
                "in a private place (umask 077), change that with --keys FILE, put what it holds back to where it "
                "came from, and remove the file."
            )
    if given:
        return Path(given)
    raise KeyringError(f"No key file is named. Say which: --keys FILE, or the variable {sources.FILE}.")


def create(path: Path, document: Document) -> None:
    """Make a key file that only its owner may read. Raises KeyringError where something of that name is there."""
    try:
        with _flushing(path):
            unfinished = _write(path, document)
            try:
                # Unlike rename it replaces nothing, and follows no symlink; the file is there whole or not at all.
                os.link(unfinished, path)
            finally:
                unfinished.unlink(missing_ok=True)
    except FileExistsError:
        raise KeyringError(
            f"{path} is there already, and keys are never overwritten: what they encrypted would be lost. Nothing was "
            "changed. For a further key in it: portaldb keys add"
        ) from None
    except OSError as error:
        raise _failed(path, error) from None


def change(path: Path, work: Callable[[Document], T]) -> T:
    """Let `work` change the document of a key file, write it if it did, and return what `work` returned.

    Mode, owner and group stay; a symlink stays, and what it points at is changed. Raises KeyringError where the file
    cannot be used or written, LockTimeoutError where another change does not end, and whatever `work` raises: then
    nothing was changed.
    """
    try:
        target = path.resolve(strict=True)
    except (OSError, ValueError) as error:
        # Without what was given: until it is found to be a file's name, it may be a key in the wrong place.
        why = error.strerror if isinstance(error, OSError) else "that is no file's name"
        raise KeyringError(
            f"The key file given cannot be changed: {why}. For a new one: portaldb keys generate"
        ) from None
    try:
        with _locked(target, path) as file:
            before = sources.read_private(file, path)
            document = base64url.parse_object(before) if Keyring.from_json(before) else {}
            result = work(document)
            if document != base64url.parse_object(before):
                text = render(document)
                Keyring.from_json(text)  # nothing is written that could not be read again
                if _HALF.search(text):
                    raise KeyringError(
                        f"The key file {path} cannot be changed: somewhere in the set stands half of a surrogate pair "
                        "(an escape from \\ud800 to \\udfff alone), which is no character. Nothing was changed. Take "
                        "it out, then run the same command again."
                    )
                _replace(target, document, os.fstat(file))
            return result
    except OSError as error:
        raise _failed(path, error) from None


@contextmanager
def _locked(target: Path, path: Path) -> Iterator[int]:
    """Open the file and keep others from changing it. Who waited may hold one that was replaced: look again."""
    until = time.monotonic() + _PATIENCE
    while True:
        file = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if _lock(file) and os.path.samestat(os.fstat(file), target.lstat()):
                yield file
                return
        finally:
            os.close(file)
        if time.monotonic() > until:
            raise LockTimeoutError(
                f"Another command has been changing {path} for {_PATIENCE:.0f} s. Nothing was changed. "
                "Run the same command again when it is done."
            )
        time.sleep(0.02)


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _replace(target: Path, document: Document, facts: os.stat_result) -> None:
    # Under the lock nobody else writes here: these were left by commands that were killed.
    for each in target.parent.iterdir():
        if _is_unfinished(each, target):
            each.unlink(missing_ok=True)
    with _flushing(target):
        unfinished = _write(target, document, facts)
        try:
            unfinished.replace(target)
        except OSError:
            unfinished.unlink(missing_ok=True)
            raise


def _is_unfinished(path: Path, target: Path) -> bool:
    """Whether it is what `_write` makes beside this target, by its name as mkstemp makes it, and our own."""
    if not re.fullmatch(rf"\.{re.escape(target.name)}\.[a-z0-9_]{{8}}{re.escape(_UNFINISHED)}", path.name):
        return False
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(facts.st_mode) and facts.st_uid == os.geteuid()


def _write(target: Path, document: Document, facts: os.stat_result | None = None) -> Path:
    """Write a document beside its target, for its owner alone or with the mode and owner of another file."""
    # Made with O_EXCL, O_NOFOLLOW and the mode 0600, whatever the umask.
    number, name = tempfile.mkstemp(suffix=_UNFINISHED, prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(number, "w", encoding="utf-8") as file:
            if facts:
                own = os.fstat(number)
                if (facts.st_uid, facts.st_gid) != (own.st_uid, own.st_gid):
                    os.fchown(number, facts.st_uid, facts.st_gid)
                os.fchmod(number, facts.st_mode & 0o7777)
            file.write(render(document))
            file.flush()
            os.fsync(number)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)


@contextmanager
def _flushing(target: Path) -> Iterator[None]:
    """Flush the folder of a file that is put there; one that cannot be opened for that fails before anything is."""
    number = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield
        try:
            os.fsync(number)
        except OSError as error:
            raise KeyringError(
                f"The key file {target} was written, but whether the disk has it was not told: {error.strerror}. It is "
                "there now; keep a copy elsewhere, and look at the disk."
            ) from None
    finally:
        os.close(number)


def _failed(path: Path, error: OSError) -> KeyringError:
    return KeyringError(
        f"The key file {path} cannot be changed: {error.strerror}. Nothing was changed. Look with: "
        f"ls -ld {shlex.quote(str(path.parent))} {shlex.quote(str(path))}"
    )
