"""What can go wrong, as the person who typed the command should read it, with the exit code for scripts.

A message is one paragraph: what was being done, what happened, and what to do next. The exit codes are the
contract of docs/exit-codes.md.
"""


class PortalError(Exception):
    """Something failed that has no class of its own (exit code 10)."""

    exit_code = 10


class FindingsError(PortalError):
    """A check ran and found something: not clean, drifted, or lint findings (exit code 1)."""

    exit_code = 1


class UsageError(PortalError):
    """The command was asked for something that does not exist, such as an unknown migration (exit code 2)."""

    exit_code = 2


class ConnectError(PortalError):
    """The server could not be reached, or refused the login (exit code 3)."""

    exit_code = 3


class RefusedError(PortalError):
    """A precondition does not hold and nothing was changed (exit code 4)."""

    exit_code = 4


class MigrationFailedError(PortalError):
    """A statement of a migration failed; that migration left nothing behind (exit code 5)."""

    exit_code = 5


class LockTimeoutError(PortalError):
    """A lock was not had in time; nothing of that migration was applied; run again later (exit code 6)."""

    exit_code = 6


class EnvironmentMissingError(PortalError):
    """A program, package or extension that this command needs is missing (exit code 7)."""

    exit_code = 7


class RightsError(PortalError):
    """The login may not do this (exit code 8)."""

    exit_code = 8


class DamagedError(PortalError):
    """A backup is damaged or not whole, or what was restored is not what it holds (exit code 9)."""

    exit_code = 9
