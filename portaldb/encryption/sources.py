"""Where the keys come from: a file, the environment, or a command such as a vault's.

A file is read only if nobody else can: it belongs to you or to root, others have no right on it, and its group may
read it only where root owns it (PostgreSQL's own rule for `ssl_key_file`). What was given for a
file's name is quoted once there is such a file, and a command never: it may be a key, put into the wrong variable.
"""

import os
import select
import shlex
import stat
import subprocess
import time
from pathlib import Path

from portaldb.encryption.keyring import KeyringError

FILE = "PORTALDB_KEYS_FILE"
TEXT = "PORTALDB_KEYS"
COMMAND = "PORTALDB_KEYS_COMMAND"
_LARGEST = 1024 * 1024
_SECONDS = 30.0


def read(path: Path | None = None) -> str:
    """Return the text of the JWK Set: of the file given, else from the one source that the environment names.

    Raises KeyringError where there is none or more than one, or where it cannot be read.
    """
    if path is not None:
        return _file(path, "The key file given")
    given = {name: os.environ[name] for name in (FILE, TEXT, COMMAND) if os.environ.get(name)}
    if len(given) > 1:
        raise KeyringError(f"The keys are given more than once: by {' and by '.join(given)}. Leave one of them.")
    if FILE in given:
        return _file(Path(given[FILE]), f"The key file that {FILE} names")
    if TEXT in given:
        return given[TEXT]
    if COMMAND in given:
        return _command(given[COMMAND])
    raise KeyringError(
        f"No keys are given. Say where they are: --keys FILE, or the variable {FILE} (a file), {TEXT} (the JWK Set "
        f"itself) or {COMMAND} (a command that prints it). To make a first key: portaldb keys generate"
    )


def read_private(file: int, path: Path) -> str:
    """Return the text of an open file, if it is one that nobody else can read. Raises KeyringError, and OSError.

    What is judged is what is read: a file that is put in its place meanwhile changes nothing.
    """
    facts = os.fstat(file)
    if not stat.S_ISREG(facts.st_mode):
        raise KeyringError(f"The key file {path} is not a file.")
    if facts.st_uid not in (os.geteuid(), 0):
        raise KeyringError(f"The key file {path} belongs to user {facts.st_uid}: only your own or root's is read.")
    if facts.st_mode & (0o037 if facts.st_uid == 0 else 0o077):
        raise KeyringError(
            f"The key file {path} can be read or written by others (mode {stat.S_IMODE(facts.st_mode):04o}). "
            f"Mend it: chmod 600 {shlex.quote(str(path))}. If others did read it, make a new key: portaldb keys add"
        )
    return _text(_limited(file, None), f"The key file {path}")


def _file(path: Path, what: str) -> str:
    try:
        # Without waiting: to open a pipe takes until somebody writes into it.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return read_private(file, path)
        finally:
            os.close(file)
    except OSError as error:
        why = error.strerror
    except ValueError:
        why = "that is no file's name"
    raise KeyringError(f"{what} cannot be read: {why}.")


def _command(line: str) -> str:
    """Run a command without a shell; its standard error is left to the terminal."""
    what = f"The command of {COMMAND}"
    try:
        words = shlex.split(line)
    except ValueError:
        words = []
    if not words:
        raise KeyringError(f"{what} cannot be run: it has no word, or a quotation that does not end.")
    try:
        raw, why = _run(words)
    except OSError as error:
        raw, why = b"", f"cannot be run: {error.strerror}"
    if why:
        raise KeyringError(f"{what} {why}.")
    return _text(raw, f"What the command of {COMMAND} prints")


def _run(words: list[str]) -> tuple[bytes, str]:
    """Return what a command prints, and what went wrong."""
    until = time.monotonic() + _SECONDS
    with subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout  # noqa: S101 - for mypy: there is a pipe
        try:
            raw = _limited(process.stdout.fileno(), until)
            if len(raw) > _LARGEST:
                return raw, ""
            status = process.wait(until - time.monotonic())
        except (TimeoutError, subprocess.TimeoutExpired):
            return b"", f"was stopped: it took longer than {_SECONDS:.0f} seconds"
        finally:
            process.kill()
    return raw, f"failed with exit status {status}; what it said of that is above" if status else ""


def _limited(file: int, until: float | None) -> bytes:
    """Read to the end, or a little more than what is taken. Raises TimeoutError."""
    raw = b""
    while len(raw) <= _LARGEST:
        if until is not None and not select.select([file], [], [], max(0.0, until - time.monotonic()))[0]:
            raise TimeoutError
        part = os.read(file, _LARGEST)
        if not part:
            break
        raw += part
    return raw


def _text(raw: bytes, what: str) -> str:
    if len(raw) > _LARGEST:
        raise KeyringError(f"{what} is larger than {_LARGEST // 1024} kB, which no JWK Set is.")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        pass
    # Not in the handler: the codec's error holds the bytes, which are key material.
    raise KeyringError(f"{what} is not UTF-8.")
