"""One thing that a check found in a file of SQL, whichever tool found it."""

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Finding:
    """A place, the rule that was broken there, and what to do about it."""

    path: str
    line: int
    rule: str
    message: str
    help: str = ""
    tool: str = "portaldb"

    def __str__(self) -> str:
        """Set it as editors and CI read it: file:line rule message."""
        tail = f" {self.help}" if self.help else ""
        return f"{self.path}:{self.line} {self.rule} {self.message}{tail}"
