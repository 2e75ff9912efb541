"""Where the keys come from: a file, the environment, or a command such as a vault's.

A file is read only if nobody else can: it belongs to you or to root, others have no right on it, and its group may
read it only where root owns it (PostgreSQL's own rule for `ssl_key_file`).
"""

import os
import shlex
import stat
import subprocess
from pathlib import Path

from portaldb.encryption.keyring import KeyringError

FILE = "PORTALDB_KEYS_FILE"
TEXT = "PORTALDB_KEYS"
COMMAND = "PORTALDB_KEYS_COMMAND"
_LARGEST = 1024 * 1024
_SECONDS = 30


def read(path: Path | None = None) -> str:
    """Return the text of the JWK Set: of the file given, else from the one source that the environment names.

    Raises KeyringError where there is none or more than one, or where it cannot be read.
    """
    if path is not None:
        return _file(path)
    named = [name for name in (FILE, TEXT, COMMAND) if os.environ.get(name)]
    if len(named) > 1:
        raise KeyringError(f"The keys are given more than once: by {' and by '.join(named)}. Leave one of them.")
    if not named:
        raise KeyringError(
            f"No keys are given. Say where they are: --keys FILE, or the variable {FILE} (a file), {TEXT} (the JWK Set "
            f"itself) or {COMMAND} (a command that prints it). To make a first key: portaldb keys generate"
        )
    value = os.environ[named[0]]
    return {FILE: lambda: _file(Path(value)), TEXT: lambda: value, COMMAND: lambda: _command(value)}[named[0]]()


def _file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return read_private(file.fileno(), path)
    except OSError as error:
        raise KeyringError(f"The key file {path} cannot be read: {error.strerror}.") from None


def read_private(number: int, path: Path) -> str:
    """Return the text of an open file. Raises KeyringError where others may read it; `path` is for the message."""
    # What is judged is what is read: a file that is exchanged in between changes nothing.
    _require_private(path, os.fstat(number))
    with open(number, "rb", closefd=False) as file:
        return _text(file.read(_LARGEST + 1), f"The key file {path}")


def _require_private(path: Path, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise KeyringError(f"The key file {path} is not a file.")
    if facts.st_uid not in (os.geteuid(), 0):
        raise KeyringError(f"The key file {path} belongs to user {facts.st_uid}: only your own or root's is read.")
    if facts.st_mode & (0o037 if facts.st_uid == 0 else 0o077):
        raise KeyringError(
            f"The key file {path} can be read or written by others (mode {stat.S_IMODE(facts.st_mode):04o}). "
            f"Mend it: chmod 600 {shlex.quote(str(path))}. If others did read it, make a new key: portaldb keys add"
        )


def _command(line: str) -> str:
    """Run a command without a shell; its standard error is left to the terminal."""
    try:
        words = shlex.split(line)
        done = subprocess.run(words, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise KeyringError(f"The command of {COMMAND} was stopped: it took longer than {_SECONDS} seconds.") from None
    except (OSError, ValueError, IndexError) as error:
        told = error.strerror if isinstance(error, OSError) else error
        raise KeyringError(f"The command of {COMMAND} cannot be run: {told}.") from None
    if done.returncode:
        raise KeyringError(f"The command of {COMMAND} failed with exit status {done.returncode}; its words are above.")
    return _text(done.stdout, f"What the command of {COMMAND} prints")


def _text(raw: bytes, what: str) -> str:
    if len(raw) > _LARGEST:
        raise KeyringError(f"{what} is larger than {_LARGEST // 1024} kB, which no JWK Set is.")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise KeyringError(f"{what} is not UTF-8.") from None
